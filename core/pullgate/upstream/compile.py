"""From a Registry to the configuration of its upstream's client."""

from __future__ import annotations

from pullgate.licensing.marks import Marker
from pullgate.policy.tenancy import EVERYWHERE, Networks
from pullgate.providers.credentials import Credentials
from pullgate.resources.registry import Registry, TimeoutsSpec
from pullgate.resources.registry_type import wire_host
from pullgate.upstream.config import Timeouts, UpstreamConfig


def proxy_config(
    host: str,
    key: str,
    networks: Networks = EVERYWHERE,
    *,
    plain_http: bool = False,
    ca_pem: str | None = None,
    marker: Marker | None = None,
    own_anywhere: bool = True,
) -> UpstreamConfig:
    """How a customer's client speaks to the proxy at `host` (host[:port]) with a license key.

    The proxy itself may be at any private address, unless a tenant chose `host`: then `own_anywhere` is False. It may
    redirect to where a tenant's upstream wants: `networks` are the private ones that are followed to.
    `marker` says that it is a test; without one the proxy counts it as the customer's.
    """
    return UpstreamConfig(
        registry=host,
        host=host,
        wire_host=host,
        credentials=Credentials("license", key),
        plain_http=plain_http,
        ca_pem=ca_pem,
        networks=networks,
        allow_private=True,
        pullgate=True,
        own_anywhere=own_anywhere,
        marker=marker,
    )


def upstream_config(
    resource: Registry,
    networks: Networks,
    credentials: Credentials | None = None,
    ca_pem: str | None = None,
    *,
    issued: bool = False,
) -> UpstreamConfig:
    """How the Registry's upstream is spoken to; credentials and private CA are handed over apart from it.

    `networks` are the private ones that it may be in: by the administrator's word, never by the Registry's.
    `issued`: the credentials are a token that Pullgate asked for.
    """
    spec = resource.spec
    return UpstreamConfig(
        registry=f"{resource.metadata.namespace}/{resource.metadata.name}",
        host=spec.host,
        wire_host=wire_host(spec.host),
        credentials=credentials,
        plain_http=spec.tls.plain_http,
        ca_pem=ca_pem,
        issued=issued,
        realm_hosts=frozenset(spec.network.realm_hosts),
        networks=networks,
        allow_private=spec.network.allow_private,
        timeouts=_timeouts(spec.timeouts),
    )


def _timeouts(spec: TimeoutsSpec) -> Timeouts:
    connect, first_byte = spec.connect, spec.first_byte
    return Timeouts().changed(
        connect.total_seconds() if connect is not None else None,
        first_byte.total_seconds() if first_byte is not None else None,
    )
