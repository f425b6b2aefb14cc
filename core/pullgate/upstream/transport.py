"""The pool of connections to one upstream and to where it leads, and one exchange over it."""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from pullgate import faults
from pullgate.clean_text import clean
from pullgate.tls_context import build_client_context, client_context
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.egress import Egress, EgressProxy, InvalidProxy
from pullgate.upstream.failures import (
    AddressRefused,
    fault_of_egress,
    fault_of_request,
    refused_by_egress,
)
from pullgate.upstream.guard import Guard, GuardingResolver, name_of
from pullgate.upstream.heads import BoundedHeads
from pullgate.upstream.names import Names

USER_AGENT = f"pullgate/{version('pullgate')}"

_CONNECTIONS = 1024
"""Connections of one upstream at once; above it requests wait. Each blob on its way holds one."""
_READ_BUFFER = 32 * 1024
"""A body's bytes that wait for a slow client: reading pauses above twice this, after what was read in one go."""
_FIELD_LIMIT = 32 * 1024
"""Bytes of one header field: signed URLs and tokens outgrow aiohttp's 8 KiB."""


_READ_FIELDS: Final = (
    "Accept-Ranges",
    "Content-Encoding",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "Docker-Content-Digest",
    "ETag",
    "Last-Modified",
    "Link",
    "Location",
    "OCI-Filters-Applied",
    "Retry-After",
    "WWW-Authenticate",
    "X-Pullgate-Reason",
)
"""Headers of an answer that are read, and so checked. Nobody reads any other."""


def is_sendable(value: str) -> bool:
    """True if a header may hold `value`: no control but the tab, no bidi character, and it is UTF-8."""
    return clean(value, lines=True) == value


class Transport:
    """Sends a request and returns the answer's headers, or raises a fault. Nothing is followed, retried or kept."""

    def __init__(self, config: UpstreamConfig, guard: Guard, names: Names | None = None) -> None:
        """`names` look up hosts; None: those that all upstreams of the loop share."""
        self._config, self._names = config, names
        self._guard = guard
        self._egress = Egress(os.environ)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._proxied: aiohttp.ClientSession | None = None
        """For what goes through an egress proxy; its resolver looks up nothing but that proxy's name."""

    def label(self, url: URL) -> str:
        """Whom `url` asks, in words; never more than the host, for the query may hold a signature."""
        name = name_of(url)
        return self._config.host if self._guard.is_own(name) else f"{name} (for {self._config.host})"

    async def exchange(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: Mapping[str, str] | bytes | None = None,
        first_byte: float | None = None,
    ) -> aiohttp.ClientResponse:
        """One request, and the answer with its body unread. Raises a fault, or Transient where a new try may help.

        `first_byte` bounds the wait for the answer's headers, in seconds; None is the Registry's bound for small ones.
        """
        proxy = self._proxy_for(url)
        session = self._session_for(proxy)
        timeouts = self._config.timeouts
        wait = timeouts.first_byte if first_byte is None else first_byte
        timeout = aiohttp.ClientTimeout(connect=timeouts.connect, sock_connect=timeouts.connect, sock_read=wait)
        failure: Exception
        shown, to_proxy = proxy.headers_for(url, headers) if proxy is not None else (headers, None)
        try:
            # aiohttp's time-outs begin anew with each byte, and a head may come byte by byte.
            async with asyncio.timeout(timeouts.connect + wait):
                raw = await session.request(
                    method,
                    url,
                    headers=shown,
                    data=body,
                    allow_redirects=False,
                    timeout=timeout,
                    proxy=proxy.url if proxy is not None else None,
                    proxy_headers=to_proxy,
                )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = self._failure(error, url, wait, proxy)
        else:
            if proxy is None or raw.status != 407:
                return self._checked(raw, url)
            raw.close()
            failure = refused_by_egress(self.label(url), proxy.name, raw.status)
        raise failure

    def _checked(self, raw: aiohttp.ClientResponse, url: URL) -> aiohttp.ClientResponse:
        """`raw`, unless a header that is read or sent on holds what no header may (RFC 9110, section 5.5)."""
        for name in _READ_FIELDS:
            if any(not is_sendable(value) for value in raw.headers.getall(name, ())):
                raw.close()
                raise faults.UpstreamProtocol(
                    self.label(url), f"its header {name} holds a character that no header may"
                )
        return raw

    def way_to(self, url: URL) -> str | None:
        """host:port of the egress proxy that `url` is asked through; None: it is reached directly. Raises a fault."""
        proxy = self._proxy_for(url)
        return proxy.name if proxy is not None else None

    def _proxy_for(self, url: URL) -> EgressProxy | None:
        try:
            proxy = self._egress.proxy_for(url)
        except InvalidProxy as error:
            raise faults.UpstreamUnreachable(self.label(url), str(error)) from None
        if proxy is not None and not self._guard.name_is_allowed(url):
            if self._guard.is_own(name_of(url)):
                raise self._guard.refused_host(self._guard.why_not(name_of(url)))
            raise self._guard.refused_address()
        return proxy

    async def close(self) -> None:
        """Close every connection, for good: a retry that comes later must not open a session that nobody closes."""
        sessions = self._session, self._proxied
        self._session = self._proxied = None
        self._closed = True
        for session in sessions:
            if session is not None:
                await session.close()

    def _failure(self, error: Exception, url: URL, first_byte: float, proxy: EgressProxy | None) -> Exception:
        if proxy is not None and _is_of_proxy(error, proxy):
            return fault_of_egress(error, self.label(url), proxy.name)
        if isinstance(error, aiohttp.ClientConnectorDNSError) and isinstance(error.os_error, AddressRefused):
            is_own = self._guard.is_own(name_of(url))
            return self._guard.refused_host(str(error.os_error)) if is_own else self._guard.refused_address()
        return fault_of_request(error, self.label(url), self._config.timeouts.connect, first_byte)

    def _session_for(self, proxy: EgressProxy | None) -> aiohttp.ClientSession:
        if proxy is None:
            self._session = self._session or self._open(self._guard)
            return self._session
        self._proxied = self._proxied or self._open(None)
        return self._proxied

    def _open(self, guard: Guard | None) -> aiohttp.ClientSession:
        if self._closed:
            raise faults.ShuttingDown
        if not self._guard.literal_is_allowed(self._guard.origin):
            # aiohttp asks no resolver for an address.
            raise self._guard.refused_host(self._guard.why_not(name_of(self._guard.origin)))
        connector = aiohttp.TCPConnector(
            limit=_CONNECTIONS,
            resolver=GuardingResolver(guard, self._config.holders, self._names),
            ttl_dns_cache=30,
            keepalive_timeout=30,
            ssl=self._trust(),
        )
        connector._factory = functools.partial(_heads, asyncio.get_running_loop())
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            read_bufsize=_READ_BUFFER,
            max_field_size=_FIELD_LIMIT,
            max_line_size=_FIELD_LIMIT,
        )
        # aiohttp's own silent repeat of a request would multiply with `retry`.
        session._retry_connection = False
        return session

    def _trust(self) -> ssl.SSLContext:
        if self._config.ca_pem is None:
            return client_context()
        try:
            return build_client_context(self._config.ca_pem)
        except (ssl.SSLError, ValueError):
            raise faults.UpstreamTLS(self._config.host, "the Registry's CA certificate cannot be read") from None


def _is_of_proxy(error: Exception, proxy: EgressProxy) -> bool:
    """True if `error` is about the egress proxy, and not about the server behind it."""
    if isinstance(error, (aiohttp.ClientHttpProxyError, aiohttp.ClientProxyConnectionError)):
        return True
    return isinstance(error, aiohttp.ClientConnectorError) and (error.host, error.port) == (
        proxy.url.raw_host,
        proxy.url.port,
    )


def _heads(loop: asyncio.AbstractEventLoop) -> ResponseHandler:
    return BoundedHeads(loop)
