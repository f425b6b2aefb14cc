"""Limits where the client goes: the token servers that see the credentials, the redirects and the addresses.

An upstream's answer names token servers and redirects, so each may be an attempt to misdirect a credential or a
request (CVE-2020-15157, CVE-2026-33540, CVE-2026-48978). The addresses are judged after the name was resolved, and
the very same ones are dialled, so a name that changes its address in between gains nothing.
"""

from __future__ import annotations

import functools
import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from publicsuffixlist import PublicSuffixList
from yarl import URL

from pullgate import faults
from pullgate.shares import Holders
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.failures import NOT_DIALLED, PRIVATE, AddressRefused
from pullgate.upstream.names import Names, shared_names

URL_LIMIT = 16 * 1024
"""Characters of a realm or a Location; signed URLs reach about 4 KiB."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Metadata services outside of link-local: AWS over IPv6 and its Pod Identity, Google over IPv6, Alibaba,
# Azure's wire server, Oracle's older one.
_METADATA: frozenset[Address] = frozenset(
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
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
ADMINS_STEP = (
    "ask the cluster's administrator for the annotation pullgate.dev/private-networks on the Namespace, "
    "or start with --private-networks"
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""The addresses that IANA gives out of IPv6 (RFC 4291, section 2.4; the registry "IPv6 Address Space")."""


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
        """True if `host` (no port) is the upstream's own name."""
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
            fault.step = "set the registry's external URL to https, or spec.tls.plainHTTP if it has no TLS"
        elif why == "a private address":
            fault.step = "set spec.network.allowPrivate, if the registry is in your own network"
        return fault

    def redirect(self, source: URL, location: str | None) -> URL:
        """The target of a redirect from `source`. Raises RedirectRefused if it must not be followed."""
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
        fault = faults.RedirectRefused(self._config.host, "a private address")
        if self._config.allow_private:
            fault.step = ADMINS_STEP
        return fault

    def refused_host(self, why: str) -> faults.UpstreamUnreachable:
        """The fault of an own address that is not dialled."""
        fault = faults.UpstreamUnreachable(self._config.host, why)
        if why == PRIVATE:
            fault.step = ADMINS_STEP
        return fault

    def why_not(self, host: str) -> str:
        """The reason for which `host`, an IP address or a name of a private network, is not dialled."""
        address = _literal(host)
        never = _is_never_dialled(_unwrap(ipaddress.ip_address(address))) if address else host in _METADATA_NAMES
        return NOT_DIALLED if never else PRIVATE

    def literal_is_allowed(self, url: URL) -> bool:
        """False if `url` names its host by an IP address that is not dialled; a name is judged by the resolver."""
        host = name_of(url)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return True
        return self.may_dial(host, host)

    def name_is_allowed(self, url: URL) -> bool:
        """True if an egress proxy may be asked for the host of `url`. It resolves the name, so the name is judged.

        A name of a private network is asked for where the administrator allows any: its address is then judged by the
        egress proxy's own rules.
        """
        host = name_of(url)
        address = _literal(host)
        if address is not None:
            return self.may_dial(host, address)
        if host in _METADATA_NAMES:
            return False
        is_public = "." in host and not host.endswith(_PRIVATE_NAMES)
        return is_public or (bool(self._config.networks or self._config.own_anywhere) and self._may_be_private(host))

    def may_dial(self, host: str, address: str) -> bool:
        """True if `address`, which `host` resolved to, is dialled.

        Link-local addresses and metadata services never are. A private one is, loopback too, where the administrator
        allows its network: for the upstream's own name, and with `allow_private` for the names that it leads to.
        """
        bare = _unwrap(ipaddress.ip_address(address.partition("%")[0]))
        if _is_never_dialled(bare):
            return False
        if _is_public(bare):
            return True
        if self._config.own_anywhere and self.is_own(host):
            return True
        return self._may_be_private(host) and any(bare in network for network in self._config.networks)

    def _may_be_private(self, host: str) -> bool:
        return self.is_own(host) or self._config.allow_private

    def _realm_is_pinned(self, url: URL) -> bool:
        host = name_of(url)
        if self._config.issued:
            return url.scheme == "https" and self.is_own(host)
        listed = host in self._config.realm_hosts or f"{host}:{url.port}" in self._config.realm_hosts
        vouched = listed or self.is_own(host)
        return vouched or (url.scheme == "https" and same_registered_domain(host, self._own_name))


def same_registered_domain(one: str, other: str) -> bool:
    """True if both names belong to one owner by the public suffix list; never for IP addresses or bare suffixes."""
    if _is_address(one) or _is_address(other):
        return False
    if any(f".{one}".endswith(shared) for shared in _SHARED):
        return False
    domain = _suffixes().privatesuffix(one)
    return domain is not None and domain == _suffixes().privatesuffix(other)


class GuardingResolver(AbstractResolver):
    """The system's resolver, whose answers pass the guard."""

    def __init__(self, guard: Guard | None, holders: Holders, names: Names | None = None) -> None:
        """`guard` None: every address is dialled, as of the egress proxy, which the operator of this process chose.

        Threads of `names` are taken in the name of `holders`; None: those that all share.
        """
        self._guard, self._holders, self._names = guard, holders, names

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
            raise AddressRefused(self._guard.why_not(str(found[0][4][0])) if self._guard is not None else NOT_DIALLED)
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
    """`text` as a URL exactly as it is written (a signature must not be re-encoded); None if it is unusable."""
    if not text or len(text) > URL_LIMIT or not all("!" <= character <= "~" for character in text):
        return None
    try:
        url = URL(text, encoded=True).with_fragment(None)
        # The host is decoded when it is asked for, and one that begins with xn-- may be none.
        usable = url.user is None and url.password is None and url.host != ""
        # "https:x" would be joined to the source's host; a scheme without a default port is unusable.
        usable = usable and (not url.scheme or (url.absolute and url.port is not None))
    except (ValueError, IndexError):  # IndexError is yarl's of //[::1]@/
        return None
    return url if usable else None


def _is_public(address: Address) -> bool:
    """True in the global unicast space alone: `is_global` also takes fec0::/10, ::10.0.0.1 and ::ffff:0:10.0.0.1."""
    return address.is_global and (isinstance(address, ipaddress.IPv4Address) or address in _GLOBAL_UNICAST)


def _is_never_dialled(address: Address) -> bool:
    is_special = address.is_link_local or address.is_multicast or address.is_unspecified
    return is_special or address in _METADATA


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
