"""The client, and the host and scheme that it used. Only this module reads X-Forwarded-*: those of trusted proxies."""

from __future__ import annotations

import ipaddress
import random
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from multidict import CIMultiDictProxy

from pullgate.policy.domains import is_local
from pullgate.resources.fields import is_domain
from pullgate_proxy.settings import LOOPBACK_NAMES, Network, ProxySettings

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}\Z")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(:[0-9]{1,5})?\Z")


@dataclass(frozen=True, slots=True)
class Origin:
    """How a request reached the proxy."""

    client: str
    """The client's address, for the log."""
    host: str
    """host[:port] that the client asked, lower case; "" where the header is unusable."""
    request_id: str

    @property
    def name(self) -> str:
        """The host without its port."""
        return self.host if self.host.endswith("]") else self.host.rsplit(":", 1)[0]


def read_origin(headers: CIMultiDictProxy[str], peer: str, settings: ProxySettings) -> Origin:
    """The origin by the headers. X-Forwarded-* and X-Request-Id count only if `peer` is a trusted proxy."""
    host, client, request_id = headers.get("Host", ""), peer, ""
    if settings.trusted_proxies and _is_trusted(peer, settings.trusted_proxies):
        host = _last(_joined(headers, "X-Forwarded-Host")) or host
        client = _client(_joined(headers, "X-Forwarded-For"), settings.trusted_proxies) or peer
        request_id = _joined(headers, "X-Request-Id")
    if not request_id or not _REQUEST_ID.match(request_id):
        request_id = f"{random.getrandbits(64):016x}"
    return Origin(client, _known_form(host), request_id)


@lru_cache(maxsize=1024)
def _known_form(host: str) -> str:
    return host.lower() if _HOST.match(host) else ""


def source_of(address: str) -> str:
    """Whom an address stands for where attempts or connections are counted: an IPv6 network of 64 bits is one host's.

    An IPv4 address that is written as IPv6 is the IPv4 address; what is no address is itself.
    """
    parsed = _address(address) if ":" in address else None
    if not isinstance(parsed, ipaddress.IPv6Address):
        return address if parsed is None else str(parsed)
    return f"{ipaddress.IPv6Address(int(parsed) >> 64 << 64)}/64"


def base_url(origin: Origin, settings: ProxySettings) -> str:
    """scheme://host of the token endpoint for the host that was asked.

    Any host that could be a custom domain is repeated, held or not, so a stranger learns nothing of domains; clients
    behind a firewall know one name. An address, a local name or a single label is no custom domain, and is often plain
    HTTP inside a network: its token endpoint is the external URL's, but for loopback. The scheme is the configured one,
    https outside loopback.
    """
    external = urlsplit(settings.external_url)
    if origin.name in LOOPBACK_NAMES:
        scheme = "https" if settings.tls_cert else "http"
        return f"{scheme}://{origin.host}"
    if origin.host and (origin.name == external.hostname or _may_be_custom(origin.name)):
        scheme = external.scheme if external.hostname not in LOOPBACK_NAMES else "https"
        return f"{scheme}://{origin.host}"
    return settings.external_url.rstrip("/")


def _may_be_custom(name: str) -> bool:
    return is_domain(name) and not is_local(name)


def _joined(headers: CIMultiDictProxy[str], name: str) -> str:
    """All lines of a field as one value (RFC 9110, section 5.3): some proxies append theirs as a line of its own."""
    return ",".join(headers.getall(name, ()))


def _last(value: str) -> str:
    return value.rsplit(",", 1)[-1].strip()


def _client(forwarded_for: str, trusted: tuple[Network, ...]) -> str:
    """The nearest address that is no trusted proxy itself, counted from the right: what is left of it is hearsay."""
    hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()]
    for hop in reversed(hops[-16:]):
        if not _is_trusted(hop, trusted):
            return hop[:64] if _address(hop) else ""
    return ""


@lru_cache(maxsize=4096)
def _is_trusted(address: str, trusted: tuple[Network, ...]) -> bool:
    parsed = _address(address)
    return parsed is not None and any(parsed in network for network in trusted)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    return parsed.ipv4_mapped or parsed if isinstance(parsed, ipaddress.IPv6Address) else parsed
