"""From a Registry to the configuration of its upstream's client."""

from __future__ import annotations

from pullgate.licensing.marks import Marker
from pullgate.providers.credentials import Credentials
from pullgate.resources.registry import Registry, TimeoutsSpec
from pullgate.resources.registry_type import wire_host
from pullgate.upstream.config import Timeouts, UpstreamConfig


def proxy_config(
    host: str, key: str, *, plain_http: bool = False, ca_pem: str | None = None, marker: Marker | None = None
) -> UpstreamConfig:
    """How a customer's client speaks to the proxy at `host` (host[:port]) with a license key.

    `marker` says that it is a test; without one the proxy counts it as the customer's.
    Redirects and token servers may lead anywhere: the proxy holds them to its Registries' rules.
    """
    return UpstreamConfig(
        registry=host,
        host=host,
        wire_host=host,
        credentials=Credentials("license", key),
        plain_http=plain_http,
        ca_pem=ca_pem,
        allow_private=True,
        pullgate=True,
        marker=marker,
    )


def upstream_config(
    resource: Registry, credentials: Credentials | None = None, ca_pem: str | None = None, *, issued: bool = False
) -> UpstreamConfig:
    """How the Registry's upstream is spoken to; credentials and private CA are handed over apart from it.

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
        allow_private=spec.network.allow_private,
        timeouts=_timeouts(spec.timeouts),
    )


def _timeouts(spec: TimeoutsSpec) -> Timeouts:
    connect, first_byte = spec.connect, spec.first_byte
    return Timeouts().changed(
        connect.total_seconds() if connect is not None else None,
        first_byte.total_seconds() if first_byte is not None else None,
    )
