"""Azure Container Registry: an application or identity of Entra ID -> a refresh token of the registry.

Entra ID gives an access token (azure-identity), the registry exchanges it at /oauth2/exchange for a refresh token (ACR's
AAD-OAuth document), which is the password of the user 00000000-0000-0000-0000-000000000000.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pullgate.oci.challenge import parse_challenges
from pullgate.oci.json_text import read_json
from pullgate.providers.credentials import Credentials
from pullgate.providers.exchange import (
    CredentialsInvalid,
    ExchangeFailed,
    Issued,
    Reply,
    Tools,
    load_extra,
    run_blocking,
)
from pullgate.providers.known_end import end_of_token
from pullgate.providers.provider import Subject
from pullgate.resources.registry import WorkloadIdentity

NOBODY: Final = "00000000-0000-0000-0000-000000000000"
AUDIENCE: Final = "api://AzureADTokenExchange"
SCOPE: Final = "https://containerregistry.azure.net/.default"
"""A token for registries alone. One for https://management.azure.com works at the exchange, too, and opens all of Azure's
resource manager."""
KIND: Final = "ACRRefreshToken"
_AUTHORITIES: Final = {".azurecr.cn": "login.chinacloudapi.cn", ".azurecr.us": "login.microsoftonline.us"}
_CODE = re.compile(r"AADSTS\d{5,8}")
_ID = re.compile(r"[A-Za-z0-9.-]{1,128}\Z")


@dataclass(frozen=True, slots=True)
class AcrPrincipal:
    """A service principal with a secret."""

    host: str
    tenant: str
    client: str
    secret: str = field(repr=False)

    @property
    def source(self) -> str:
        """See Exchange."""
        return f"service principal {self.client}"

    @property
    def kind(self) -> str:
        """See Exchange."""
        return KIND

    async def issue(self, tools: Tools) -> Issued:
        """See Exchange."""

        def ask() -> str:
            room = load_extra("azure.identity", "azure")
            return _ask_entra(room.ClientSecretCredential(self.tenant, self.client, self.secret, **_options(self.host)))

        token = await run_blocking(lambda: _explained(ask, self.source, "KeysRejected"))
        return await _exchange(tools, self.host, self.tenant, token)


@dataclass(frozen=True, slots=True)
class AcrIdentity:
    """An application or managed identity that trusts a ServiceAccount; or the process' own identity."""

    host: str
    tenant: str
    client: str
    namespace: str
    service_account: str | None

    @property
    def source(self) -> str:
        """See Exchange."""
        return f"identity {self.client}"

    @property
    def kind(self) -> str:
        """See Exchange."""
        return KIND

    async def issue(self, tools: Tools) -> Issued:
        """See Exchange."""
        ask = self._ask_own
        if self.service_account is not None:
            assertion = await tools.service_account_token(self.namespace, self.service_account, AUDIENCE)
            ask = self._ask_with(assertion)
        token = await run_blocking(lambda: _explained(ask, self.source, "IdentityRejected"))
        return await _exchange(tools, self.host, self.tenant, token)

    def _ask_with(self, assertion: str) -> Callable[[], str]:
        def ask() -> str:
            room = load_extra("azure.identity", "azure")
            options = _options(self.host)
            return _ask_entra(room.ClientAssertionCredential(self.tenant, self.client, lambda: assertion, **options))

        return ask

    def _ask_own(self) -> str:
        room = load_extra("azure.identity", "azure")
        if os.environ.get("AZURE_FEDERATED_TOKEN_FILE"):
            options = {"tenant_id": self.tenant, "client_id": self.client, **_options(self.host)}
            return _ask_entra(room.WorkloadIdentityCredential(**options))
        return _ask_entra(room.ManagedIdentityCredential(client_id=self.client))


def exchange_of_keys(data: Mapping[str, str], host: str) -> AcrPrincipal:
    """`KeyExchange.make`."""
    for key in ("tenantID", "clientID"):
        if not _ID.match(data[key]):
            raise CredentialsInvalid(
                f"{key} in it is no id", "copy the GUID that az account show or az ad sp show prints"
            )
    return AcrPrincipal(host, data["tenantID"], data["clientID"], data["clientSecret"])


def exchange_of_identity(identity: WorkloadIdentity, subject: Subject) -> AcrIdentity:
    """`IdentityWay.make`."""
    azure = identity.azure
    if azure is None:
        raise TypeError("another cloud")
    return AcrIdentity(subject.host, azure.tenant_id, azure.client_id, subject.namespace, identity.service_account_name)


def _options(host: str) -> dict[str, Any]:
    """Options of azure-identity: time-outs, and the authority for `host` unless AZURE_AUTHORITY_HOST names one."""
    options: dict[str, Any] = {"retry_total": 1, "connection_timeout": 5, "read_timeout": 10}
    if "AZURE_AUTHORITY_HOST" in os.environ:
        return {**options, "disable_instance_discovery": True}
    name = host.partition(":")[0]
    found = next((authority for suffix, authority in _AUTHORITIES.items() if name.endswith(suffix)), None)
    return {**options, "authority": found} if found is not None else options


def _ask_entra(credential: Any) -> str:
    with credential:
        return str(credential.get_token(SCOPE).token)


_FAILURES: Final[Mapping[str, tuple[str, str, str]]] = {
    "AADSTS7000215": (
        "KeysRejected",
        "the client secret is wrong",
        "put the secret's value, not its id: az ad sp credential reset",
    ),
    "AADSTS7000222": (
        "KeysRejected",
        "the client secret has ended",
        "az ad sp credential reset, and change the Secret",
    ),
    "AADSTS700016": ("KeysRejected", "there is no such application in this tenant", "check clientID and tenantID"),
    "AADSTS700027": (
        "KeysRejected",
        "its certificate or assertion is not valid",
        "check the application's credentials",
    ),
    "AADSTS90002": ("KeysRejected", "there is no such tenant", "check tenantID, and the cloud that spec.host is in"),
    "AADSTS900023": ("KeysRejected", "the tenant's name is none", "check tenantID"),
    "AADSTS700211": (
        "IdentityRejected",
        "no federated credential has this issuer",
        "set the cluster's OIDC issuer in the federated credential",
    ),
    "AADSTS700212": (
        "IdentityRejected",
        "no federated credential has this audience",
        "set the audience api://AzureADTokenExchange in it",
    ),
    "AADSTS700213": (
        "IdentityRejected",
        "no federated credential has this subject",
        "set system:serviceaccount:NAMESPACE:NAME as its subject",
    ),
    "AADSTS70021": (
        "IdentityRejected",
        "no federated credential matches",
        "compare issuer, subject and audience with az identity federated-credential list",
    ),
    "AADSTS7000226": (
        "IdentityRejected",
        "the application has no federated credential",
        "az identity federated-credential create, for this ServiceAccount",
    ),
    "AADSTS700024": ("ClockWrong", "the assertion is of another time", "set the clock"),
    "AADSTS53003": (
        "PermissionMissing",
        "Conditional Access blocks it",
        "let this workload identity pass, from the proxy's addresses",
    ),
    "AADSTS50034": ("KeysRejected", "there is no such account", "check clientID"),
    "AADSTS90033": ("ExchangeError", "Entra ID is not available just now", "it is tried again"),
}


def _explained(call: Callable[[], str], source: str, refused: str) -> str:
    """Run `call`; an error of azure-identity becomes an ExchangeFailed with its code or type, without its text.

    `refused` is the reason of a refusal with an unknown code.
    """
    room, core = load_extra("azure.identity", "azure"), load_extra("azure.core.exceptions", "azure")
    try:
        return call()
    except room.CredentialUnavailableError:
        failure = ExchangeFailed(
            "IdentityMissing",
            "there is no Azure identity here",
            "run the operator with a workload or managed identity, or name a serviceAccountName",
        )
    except core.ClientAuthenticationError as error:
        failure = _of_refusal(error, source, refused, core)
    except (core.ServiceRequestError, core.ServiceResponseError) as error:
        words = f"Entra ID cannot be reached ({type(error).__name__})"
        failure = ExchangeFailed(
            "ExchangeUnreachable", words, "check egress to login.microsoftonline.com; it is tried again"
        )
    except core.AzureError as error:
        words = f"Entra ID could not be asked ({type(error).__name__})"
        failure = ExchangeFailed("ExchangeError", words, "it is tried again")
    raise failure


def _of_refusal(error: Any, source: str, refused: str, core: Any) -> ExchangeFailed:
    """azure-identity wraps what MSAL raises; its first cause tells them apart."""
    found = _CODE.search(str(error.message))
    inner = error.__cause__ or error.__context__
    if isinstance(inner, (core.ServiceRequestError, core.ServiceResponseError)):
        words = "Entra ID cannot be reached"
        return ExchangeFailed(
            "ExchangeUnreachable", words, "check egress to login.microsoftonline.com; it is tried again"
        )
    if found is None and isinstance(inner, ValueError):
        # MSAL, of an authority without metadata.
        words = f"{source}: Entra ID does not know the tenant"
        return ExchangeFailed("KeysRejected", words, "check tenantID, and the cloud that spec.host is in")
    code = found[0] if found is not None else "no code"
    unknown = (refused, "Entra ID refused it", "look the code up at login.microsoftonline.com/error")
    # A further digit tells a variant: AADSTS7002131 is AADSTS700213 where a credential has an expression for the subject.
    reason, what, fix = _FAILURES.get(code) or _FAILURES.get(code[:-1], unknown)
    return ExchangeFailed(reason, f"{source}: {what} ({code})", fix)


async def _exchange(tools: Tools, host: str, tenant: str, access_token: str) -> Issued:
    """The registry's refresh token for Entra ID's access token."""
    form = {
        "grant_type": "access_token",
        "service": await _service(tools, host),
        "tenant": tenant,
        "access_token": access_token,
    }
    reply = await tools.http.send("POST", f"https://{host}/oauth2/exchange", {}, form)
    if reply.status != 200:
        raise _refusal(host, reply)
    try:
        refresh = str(read_json(reply.body)["refresh_token"])
    except (ValueError, KeyError, TypeError):
        raise ExchangeFailed("ExchangeError", f"{host} answered with no refresh token", "check spec.host") from None
    return Issued(Credentials(NOBODY, refresh, end_of_token(refresh)), KIND)


async def _service(tools: Tools, host: str) -> str:
    """The `service` of the registry's challenge, which need not be `host` (AAD-OAuth.md)."""
    reply = await tools.http.send("GET", f"https://{host}/v2/", {})
    challenges = parse_challenges([reply.headers.get("www-authenticate", "")])
    named = next((c.parameters.get("service", "") for c in challenges if c.scheme == "bearer"), "")
    return named or host


def _refusal(host: str, reply: Reply) -> ExchangeFailed:
    if reply.status in {401, 403}:
        return ExchangeFailed(
            "PermissionMissing",
            f"{host} gives this identity no token (it answered {reply.status})",
            "give it Container Registry Repository Reader (without ABAC: AcrPull) on the registry; look at its firewall, too",
        )
    if reply.status == 429:
        words = f"{host} limits its token server"
        return ExchangeFailed("ExchangeLimited", words, "it is tried again", retry_after=reply.retry_after)
    if reply.status == 404:
        return ExchangeFailed(
            "ExchangeError", f"{host} has no /oauth2/exchange: it is no registry of Azure", "check spec.host"
        )
    return ExchangeFailed("ExchangeError", f"{host} answered the exchange with {reply.status}", "it is tried again")
