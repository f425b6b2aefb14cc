"""The vendor's next step at a registry, by type and fault. Pure; no text holds a secret."""

from __future__ import annotations

from collections.abc import Mapping

from pullgate.faults import Fault, plain_text
from pullgate.providers.types import PROVIDERS

_BY_REASON: Mapping[str, str] = {
    "UpstreamUnauthorized": "check the user name and password in the Secret that the Registry names",
    "UpstreamForbidden": "give these credentials read access to {repository}",
    "RepositoryUnknown": "check the repository name, and that these credentials may see it",
    "ManifestUnknown": "check the tag, or push it",
    "BlobUnknown": "push the image again: one of its layers is missing",
    "UpstreamRateLimited": "wait, or use an account with a higher limit",
    "UpstreamUnreachable": "check spec.host, DNS and the network policy",
    "UpstreamTLS": "mend its certificate, or name the CA that signed it in spec.tls.caSecretRef",
    "UpstreamTimeout": "check the network on the way, and whether the registry is up",
    "UpstreamError": "the registry itself fails: see its status page or its log",
    "UpstreamProtocol": "check spec.host and its port: is there a registry?",
    "RealmRefused": "list the token server in spec.network.realmHosts, if it is the registry's own",
    "RedirectRefused": "set spec.network.allowPrivate, if its storage is in a private network that the administrator allows",
    "CredentialsMissing": "create the Secret that the Registry names",
    "RegistrySuspended": "set spec.suspend to false",
    "DigestMismatch": "push the image again: what is stored is not what its digest says",
}


_REFUSED = (
    "a token that was issued for the keys or the identity was refused: check spec.host (account, region, registry), "
    "and what the identity may do"
)


def hint(
    registry_type: str, fault: Fault, *, username: str = "", repository: str = "", was_issued: bool = False
) -> str:
    """The vendor's next step, in at most 200 characters; empty if there is nothing to say.

    `was_issued`: the credentials are an issued token, not the ones that the vendor wrote.
    """
    if was_issued and fault.reason == "UpstreamUnauthorized":
        return _REFUSED
    if fault.step:
        return plain_text(fault.step)
    text = PROVIDERS[registry_type].hints.get(fault.reason) or _BY_REASON.get(fault.reason, fault.default_hint)
    return plain_text(text.format(repository=repository or "the repository", username=username or "the account"))
