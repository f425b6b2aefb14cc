"""Where the client may go: which token server sees the credentials, which redirect and which address is followed.

An upstream's answer names token servers and redirects, so each is an attempt to make the proxy send a credential, or a
request, to where it should not (CVE-2020-15157, CVE-2026-33540, CVE-2026-48978). The addresses are judged after the
name was resolved and the very same ones are dialled, so a name that changes its address in between gains nothing.
"""

from __future__ import annotations

import functools
import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from publicsuffixlist import PublicSuffixList
from yarl import URL

from pullgate import faults
from pullgate.shares import registry_holders
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.failures import AddressRefused
from pullgate.upstream.names import Names, shared_names

URL_LIMIT = 16 * 1024
"""Characters of a realm or a Location; signed URLs reach about 4 KiB."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Metadata services outside of link-local: AWS over IPv6, Alibaba, Azure's wire server, Oracle's older one.
_METADATA: frozenset[Address] = frozenset(
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
_SHARED = (
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".azurecr.cn",
    ".azurecr.io",
    ".azurecr.us",
    ".jfrog.io",
    ".myhuaweicloud.com",
    ".aliyuncs.com",
    ".ocir.io",
    ".pkg.dev",
    ".windows.net",
)
"""Domains under which a registry's service gives each tenant a name; the public suffix list lacks most of them."""
_PRIVATE_NAMES = (
    ".localhost",
    ".local",
    ".localdomain",
    ".svc",
    ".home.arpa",
    ".intranet",
    ".internal",
    ".private",
    ".corp",
    ".home",
    ".lan",
)
"""Names of private networks (RFC 6762, appendix G; RFC 8375), of Kubernetes, and of the clouds' metadata services."""
_METADATA_NAMES = frozenset({"metadata.google.internal", "metadata", "instance-data.ec2.internal", "instance-data"})
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def name_of(url: URL) -> str:
    """The host name of `url` as it is sent (xn--…), lower case and without a trailing dot."""
    return (url.raw_host or "").rstrip(".").lower()


def origin_of(url: URL) -> URL:
    """Scheme, host and port to compare: to yarl https://host:443 is another origin than https://host."""
    origin = url.origin()
    return origin.with_port(None) if origin.is_default_port() else origin


class Guard:
    """The rules for one upstream."""

    def __init__(self, config: UpstreamConfig) -> None:
        self._config = config
        self.origin = origin_of(URL(f"{'http' if config.plain_http else 'https'}://{config.wire_host}"))
        self._own_name = name_of(self.origin)

    def is_own(self, host: str) -> bool:
        """Whether `host` (no port) is the upstream's own name."""
        return host.rstrip(".").lower() == self._own_name

    def realm(self, text: str) -> URL:
        """The token server that a challenge names. Raises RealmRefused unless the Registry's credentials may go there.

        It is the upstream's own host, one of the same registered domain (no IP address), or one that the Registry
        lists; by https, or http where the Registry is plain HTTP and the host is its own or listed. For a token that
        Pullgate asked for it is the own host alone, by https: no field of a Registry sends a cloud's token elsewhere.
        """
        url = parse_url(text)
        if url is None or not url.absolute:
            raise self.refused_realm(None, "its address is not well-formed")
        if url.scheme != "https" and not (url.scheme == "http" and self._config.plain_http):
            raise self.refused_realm(url, f"it is named with {url.scheme}, not https")
        if not self._realm_is_pinned(url):
            raise self.refused_realm(url)
        if not self.literal_is_allowed(url):
            raise self.refused_realm(url, "a private address")
        return url

    def refused_realm(self, url: URL | None, why: str = "") -> faults.RealmRefused:
        """The fault of a token server that may not see the credentials."""
        server = ""
        if url is not None:
            server = name_of(url) if url.is_default_port() else f"{name_of(url)}:{url.port}"
        fault = faults.RealmRefused(self._config.host, self._config.registry, server, why)
        if url is not None and url.scheme == "http" and not self._config.plain_http:
            fault.step = "set the registrys external URL to https, or spec.tls.plainHTTP if it has no TLS"
        elif why == "a private address":
            fault.step = "set spec.network.allowPrivate, if the registry is in your own network"
        return fault

    def redirect(self, source: URL, location: str | None) -> URL:
        """Where a redirect from `source` leads. Raises RedirectRefused where that is no place to follow to."""
        url = parse_url(location or "")
        if url is None:
            raise faults.RedirectRefused(self._config.host, "the address is not well-formed")
        target = source.join(url)
        if target.scheme != "https" and not (target.scheme == "http" and self._config.plain_http):
            raise faults.RedirectRefused(self._config.host, "not https")
        if target.raw_host is None:
            raise faults.RedirectRefused(self._config.host, "the address is not well-formed")
        if not self.literal_is_allowed(target):
            raise self.refused_address()
        return target

    def refused_address(self) -> faults.RedirectRefused:
        """The fault of a redirect to an address that is not dialled."""
        return faults.RedirectRefused(self._config.host, "a private address")

    def literal_is_allowed(self, url: URL) -> bool:
        """False where `url` names its host by an IP address that is not dialled; a name is judged by the resolver."""
        host = name_of(url)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return True
        return self.may_dial(host, host)

    def name_is_allowed(self, url: URL) -> bool:
        """Whether an egress proxy may be asked for the host of `url`. It resolves the name, so the name is judged.

        The upstream's own name is the vendor's choice. Any other must not be one of a private network.
        """
        if self._config.allow_private:
            return True
        host = name_of(url)
        address = _literal(host)
        if address is not None:
            return self.may_dial(host, address)
        if host in _METADATA_NAMES:
            return False
        return self.is_own(host) or ("." in host and not host.endswith(_PRIVATE_NAMES))

    def may_dial(self, host: str, address: str) -> bool:
        """Whether `address`, which `host` resolved to, is dialled.

        The upstream's own name may be private or loopback, as the vendor chose it; link-local and metadata services are
        nobody's registry. Every other name was chosen by the upstream and must be public.
        """
        if self._config.allow_private:
            return True
        bare = _unwrap(ipaddress.ip_address(address.partition("%")[0]))
        if bare.is_link_local or bare in _METADATA or bare.is_multicast:
            return False
        return self.is_own(host) or bare.is_global

    def _realm_is_pinned(self, url: URL) -> bool:
        host = name_of(url)
        if self._config.issued:
            return url.scheme == "https" and self.is_own(host)
        listed = host in self._config.realm_hosts or f"{host}:{url.port}" in self._config.realm_hosts
        vouched = listed or self.is_own(host)
        return vouched or (url.scheme == "https" and same_registered_domain(host, self._own_name))


def same_registered_domain(one: str, other: str) -> bool:
    """Whether both names belong to one owner by the public suffix list; never for IP addresses or bare suffixes."""
    if _is_address(one) or _is_address(other):
        return False
    if any(f".{one}".endswith(shared) for shared in _SHARED):
        return False
    domain = _suffixes().privatesuffix(one)
    return domain is not None and domain == _suffixes().privatesuffix(other)


class GuardingResolver(AbstractResolver):
    """The system's resolver, whose answers pass the guard."""

    def __init__(self, guard: Guard | None, registry: str = "", names: Names | None = None) -> None:
        """`guard` None: every address is dialled, as of the egress proxy, which the operator of this process chose.

        `registry` ("my-app/quay") is in whose name threads of `names` are taken; None: those that all share.
        """
        self._guard, self._holders, self._names = guard, registry_holders(registry), names

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host` that may be dialled. Raises gaierror, or AddressRefused where none is left."""
        names = self._names or shared_names()
        found = await names.find(host, family, self._holders)
        allowed = [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, proto, _, address in found
            if self._guard is None or self._guard.may_dial(host, str(address[0]))
        ]
        if found and not allowed:
            raise AddressRefused(None, "no address of this name may be dialled")
        return allowed

    async def close(self) -> None:
        """Nothing is held."""


@functools.cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def _is_address(host: str) -> bool:
    """Also for the old forms that some resolvers take: 2130706433, 127.1, 0x7f.0.0.1."""
    last = host.rpartition(".")[2]
    return ":" in host or last.isdigit() or last.startswith("0x")


def _literal(host: str) -> str | None:
    """The address that `host` is, in any form that a resolver takes (2130706433, 0x7f.1); None for a name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return str(ipaddress.IPv4Address(socket.inet_aton(host)))
    except (OSError, ValueError):
        return None


def parse_url(text: str) -> URL | None:
    """`text` as a URL exactly as it is written (a signature must not be re-encoded); None where it is none of ours."""
    if not text or len(text) > URL_LIMIT or not all("!" <= character <= "~" for character in text):
        return None
    try:
        url = URL(text, encoded=True).with_fragment(None)
        # The host is decoded when it is asked for, and one that begins with xn-- may be none.
        usable = url.user is None and url.password is None and url.host != ""
        # "https:x" would be joined to the source's host; a scheme without a default port is none of ours.
        usable = usable and (not url.scheme or (url.absolute and url.port is not None))
    except (ValueError, IndexError):  # IndexError is yarl's of //[::1]@/
        return None
    return url if usable else None


def _unwrap(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for (mapped, 6to4, Teredo, NAT64), else itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address.teredo is not None:
        inner = address.teredo[1]
    return inner or address
