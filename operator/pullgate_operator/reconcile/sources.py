"""The sources of an app's images: its Registries with their credentials, and the proxy as a customer."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

from pullgate.licensing.marks import Marker
from pullgate.oci.json_text import read_json
from pullgate.policy.tenancy import Networks
from pullgate.providers.credentials import Credentials
from pullgate.providers.exchange import CredentialsInvalid, Exchange, ExchangeFailed, Issued, fingerprint
from pullgate.providers.handoff import SYSTEM_NAMESPACE, decode_handoff, handoff_name, secret_data
from pullgate.resources import InvalidResource, Registry
from pullgate.store.port import Document, Key
from pullgate.upstream.compile import proxy_config, upstream_config
from pullgate.upstream.config import UpstreamConfig
from pullgate_operator.plan.credentials import resolve
from pullgate_operator.plan.targets import Customer, Source
from pullgate_operator.reconcile.parsing import read_resource
from pullgate_operator.reconcile.settings import utc_now

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Reader(Protocol):
    """A reader of resources: a Store, or a place of the command line."""

    async def get(self, key: Key) -> Document | None:
        """A document, or None."""
        ...

    async def list(self, kind: str, namespace: str | None) -> list[Document]:
        """All documents of a kind."""
        ...


Issue = Callable[[Exchange, UpstreamConfig], Awaitable[Issued]]
"""Asks for a token. Raises ExchangeFailed."""


async def gather_sources(
    reader: Reader, namespace: str, networks: Networks, issue: Issue | None = None
) -> tuple[Source, ...]:
    """The Registries of an app, the oldest first; one that cannot be read is left out.

    `networks` and `issue` are as in gather_source.
    """
    documents = await reader.list("Registry", namespace)
    resources = []
    for document in sorted(documents, key=_age):
        try:
            resource = await read_resource(document)
        except InvalidResource:
            continue  # its own status says so
        if isinstance(resource, Registry):
            resources.append(resource)
    return tuple(await asyncio.gather(*(gather_source(reader, resource, networks, issue) for resource in resources)))


async def gather_source(
    reader: Reader, resource: Registry, networks: Networks, issue: Issue | None = None, *, fresh: bool = False
) -> Source:
    """A Registry with the credentials of its Secret, or the token that the operator handed to the proxy.

    If there is none, or with `fresh`, `issue` exchanges the Secret's keys. A workload identity is the operator's
    alone, and serves nowhere else. `networks` are the private ones that the upstream may be in.
    """
    namespace, spec = resource.metadata.namespace, resource.spec

    async def secret(ref: Any) -> Document | None:
        return await reader.get(Key("Secret", namespace, ref.name)) if ref is not None else None

    # Assume that the operator's own identity may be used: without that there is no handoff.
    own, ca = await secret(spec.credentials.secret_ref), await secret(spec.tls.ca_secret_ref)
    found = resolve(resource, own, ca, own_identity=True)
    if isinstance(found, CredentialsInvalid):
        return Source(resource, None, found.message, found.fix)
    credentials = found.credentials
    if credentials is None or isinstance(credentials, Credentials):
        return Source(resource, upstream_config(resource, networks, credentials, found.ca_pem))
    keys = spec.credentials.secret_ref is not None
    handed = None if fresh and keys else await _handed_over(reader, resource, fingerprint(credentials))
    if handed is not None:
        config = upstream_config(resource, networks, handed, found.ca_pem, issued=True)
        return Source(resource, config, was_issued=True)
    if keys and issue is not None:
        config = upstream_config(resource, networks, ca_pem=found.ca_pem)
        try:
            issued = await issue(credentials, config)
        except ExchangeFailed as error:
            return Source(resource, None, error.message, error.fix, error.reason)
        config = dataclasses.replace(config, credentials=issued.credentials, issued=True)
        return Source(resource, config, issued=issued, was_issued=True)
    fix = "look at the condition CredentialsAvailable of the Registry"
    return Source(resource, None, f"no token was issued yet with {credentials.source}", fix)


async def _handed_over(reader: Reader, resource: Registry, source: str) -> Credentials | None:
    """The token that the operator handed to the proxy, if it serves. `source`: fingerprint of its exchange."""
    meta = resource.metadata
    document = await reader.get(Key("Secret", SYSTEM_NAMESPACE, handoff_name(meta.namespace, meta.name)))
    try:
        handoff = decode_handoff(document) if document is not None else None
    except ValueError:
        return None
    if handoff is None or handoff.uid != meta.uid or handoff.source != source or handoff.credentials is None:
        return None
    end = handoff.credentials.expires_at
    return handoff.credentials if end is None or utc_now() < end else None


def build_customer(
    license_name: str,
    pull_secret: Document,
    external_url: str,
    networks: Networks,
    ca_pem: str | None = None,
    marker: Marker | None = None,
) -> Customer:
    """How the License's customer reaches the proxy: as the pull Secret says, its first host is the proxy's own.

    `external_url` says how that host is reached; without one all are by https, but for loopback as docker does it.
    `networks` and `marker` are as in proxy_config.
    Raises ValueError for a Secret that names no host, or no login for it.
    """
    config: Any = read_json(secret_data(pull_secret).get(".dockerconfigjson", b"{}"))
    auths = config.get("auths") if isinstance(config, dict) else None
    if not isinstance(auths, dict) or not auths:
        raise ValueError(f"the pull Secret of License {license_name} names no host; look at spec.pullSecret.hosts")
    login = next(iter(auths.values()))
    if not isinstance(login, dict) or not isinstance(login.get("password"), str):
        raise ValueError(f"the pull Secret of License {license_name} holds no key; is the operator running?")
    key = login["password"]
    own = urlsplit(external_url)
    hosts = dict.fromkeys([*([own.netloc] if own.netloc else []), *auths])
    return Customer(
        license_name,
        {
            host: proxy_config(
                host,
                key,
                networks,
                plain_http=_is_plain(host, own.netloc, own.scheme),
                ca_pem=ca_pem,
                marker=marker,
                # All others were chosen by who may write the License or its pull Secret.
                own_anywhere=host == own.netloc,
            )
            for host in hosts
        },
    )


def _is_plain(host: str, own_host: str, own_scheme: str) -> bool:
    if host == own_host:
        return own_scheme == "http"
    return (urlsplit(f"//{host}").hostname or "") in LOOPBACK


def _age(document: Document) -> tuple[str, str]:
    metadata = document["metadata"]
    return str(metadata.get("creationTimestamp", "")), str(metadata["name"])
