"""The egress proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name, by the rules of Go's clients (x/net/http/httpproxy).

The names are upper or lower case; upper case wins. Loopback is always reached directly.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from yarl import URL

ENTRIES: Final = 256
"""Entries of NO_PROXY that are read."""


class InvalidProxy(ValueError):
    """A variable names no proxy that can be used; the message names the variable and never its value."""


@dataclass(frozen=True, slots=True)
class EgressProxy:
    """A forward proxy: CONNECT for https, the absolute form for http (RFC 9110, section 9.3.6)."""

    url: URL
    """Without user and password."""
    authorization: str | None = field(repr=False)
    """The Proxy-Authorization value."""

    def headers_for(self, url: URL, headers: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """`headers` of a request for `url`, and those of CONNECT; the login is in the one that the proxy reads."""
        request, connect = dict(headers), dict[str, str]()
        if self.authorization is not None:
            # With CONNECT only the proxy sees it; without TLS the proxy takes it off (RFC 9110, section 11.7.2).
            (connect if url.scheme == "https" else request)["Proxy-Authorization"] = self.authorization
        return request, connect

    @property
    def name(self) -> str:
        """host:port, for words."""
        return f"{self.url.raw_host}:{self.url.port}"


class Egress:
    """Finds the egress proxy of a URL."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        entries = _variable(environ, "NO_PROXY").replace(",", " ").split()[:ENTRIES]
        self._direct = [entry.lower() for entry in entries]

    def proxy_for(self, url: URL) -> EgressProxy | None:
        """None: `url` is reached directly. Raises InvalidProxy."""
        name = f"{url.scheme.upper()}_PROXY"
        text = _variable(self._environ, name)
        if not text or self._is_direct((url.raw_host or "").rstrip(".").lower(), url.port or 0):
            return None
        return _parse(name, text)

    def _is_direct(self, host: str, port: int) -> bool:
        address = _address(host)
        if host == "localhost" or (address is not None and address.is_loopback):
            return True
        return any(_matches(entry, host, port, address) for entry in self._direct)


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _matches(entry: str, host: str, port: int, address: Address | None) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit() and (":" not in name or name.endswith("]")):
        if int(wanted) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    if address is not None:
        return _address(entry) == address
    if entry.startswith("*."):
        entry = entry[1:]
    return host.endswith(entry) if entry.startswith(".") else host == entry or host.endswith(f".{entry}")


def _parse(name: str, text: str) -> EgressProxy:
    try:
        url = URL(text if "://" in text else f"http://{text}")
        usable = url.scheme in {"http", "https"} and bool(url.host) and url.port is not None
    except ValueError:
        usable = False
    if not usable:
        raise InvalidProxy(f"{name} names no proxy: write it like http://proxy.example.com:3128")
    authorization = None
    if url.user is not None:
        pair = f"{url.user}:{url.password or ''}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return EgressProxy(URL.build(scheme=url.scheme, host=url.host or "", port=url.port), authorization)


def _variable(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name) or environ.get(name.lower()) or "").strip()


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
