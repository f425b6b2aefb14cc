"""The client of one upstream: `send` -> `attempt` -> `exchange` -> `_follow` -> `Transport.exchange`.

`send` tries again what may pass, `attempt` turns a status into a fault, `exchange` answers a challenge,
`_follow` walks redirects.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar, get_args

import aiohttp
from yarl import URL

from pullgate import faults
from pullgate.licensing.marks import COUNTED_APART, LIMIT_HEADER, TEST_HEADER
from pullgate.shares import Shares
from pullgate.upstream import manifest
from pullgate.upstream.answers import (
    Errors,
    fault_of_address,
    fault_of_answer,
    fault_of_storage,
    read_errors,
    read_told_fault,
    said_of,
)
from pullgate.upstream.auth import Authorization, Authorizer
from pullgate.upstream.breaker import Breaker
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.failures import Transient
from pullgate.upstream.guard import Guard, origin_of
from pullgate.upstream.head import BlobHeads
from pullgate.upstream.manifest import FetchedManifest, ResolvedManifest
from pullgate.upstream.names import Names
from pullgate.upstream.parts import is_multipart
from pullgate.upstream.ranges import answers_range, parse_content_range
from pullgate.upstream.ratelimit import RateLimit
from pullgate.upstream.refusals import Refusals
from pullgate.upstream.request import Kind, Method, UpstreamRequest, UpstreamResponse
from pullgate.upstream.retry import with_retries
from pullgate.upstream.tokenserver import HttpTokenServer
from pullgate.upstream.transport import Transport

Answer = TypeVar("Answer")

MAX_REDIRECTS = 5
NOTICE_LIMIT = 200
"""Characters of a proxy's message to a test."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REFUSALS = frozenset({400, 401, 403})
_PASSING = frozenset({502, 503, 504})
_PING = UpstreamRequest("GET", "", "ping")


class Upstream:
    """One registry, asked with one set of credentials. Connections, tokens and a rate limit's end are kept in it."""

    def __init__(
        self,
        config: UpstreamConfig,
        *,
        budget: Shares | None = None,
        refusals: Refusals | None = None,
        names: Names | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`budget` is what manifests and lists may take of the memory while they are read; without it they just do.

        `names` look up hosts; None: those that all upstreams of the loop share.
        `refusals`: shared by all clients of a process, so that a refused login is remembered beyond this one.
        """
        self.config = config
        self._budget, self._holders = budget, config.holders
        self._clock, self._wall_clock = clock, wall_clock
        self.counted_as_customer = False
        """True once a proxy counted a request of this test as its customer's: it does not take the marks."""
        self.limit_used = ""
        """The customer's limit that a proxy says is used up, while it lets the test pass."""
        self._guard = Guard(config)
        self._origin = self._guard.origin
        self._base = str(self._origin)
        self._transport = Transport(config, self._guard, names)
        self._breaker = Breaker(config.registry, clock)
        self._limits: dict[Kind, RateLimit] = {
            kind: RateLimit(config.host, clock, wall_clock) for kind in get_args(Kind)
        }
        """One for each kind: Docker Hub limits manifests, GitLab single routes; neither says anything of blobs."""
        self._heads = BlobHeads(clock)
        logins = RateLimit(config.host, clock, wall_clock, logins=True)
        server = HttpTokenServer(config, self._guard, self._transport, logins)
        remembered = (refusals or Refusals(clock)).of(config)
        self._auth = Authorizer(config, self._guard, server, clock, remembered)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; answers that are being read break off."""
        await self._auth.close()
        await self._transport.close()

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """The answer, its body still to be read: 200, 206, 304, 416, or a redirect not followed. Raises a fault."""
        return await self._guarded(functools.partial(self.attempt, request), request)

    async def fetch_manifest(self, request: UpstreamRequest) -> FetchedManifest:
        """The whole manifest, verified against a digest that was asked for. Raises a fault."""
        return await self._guarded(functools.partial(manifest.fetch_manifest, self, request), request)

    async def resolve_manifest(self, request: UpstreamRequest) -> ResolvedManifest:
        """Digest, media type and length of a manifest, by HEAD where it tells them and by GET where not."""
        return await self._guarded(functools.partial(manifest.resolve_manifest, self, request), request)

    async def ping(self) -> UpstreamResponse:
        """`GET /v2/`, logged in where the upstream asks for it (distribution-spec, "Determining Support")."""
        return await self._guarded(functools.partial(self.attempt, _PING), _PING)

    async def knock(self) -> UpstreamResponse:
        """`GET /v2/` as a stranger: whatever was answered, a challenge included. Raises a fault, or Transient."""
        return await self._follow(_PING, "GET", None)

    async def _guarded(self, attempt: Callable[[], Awaitable[Answer]], request: UpstreamRequest) -> Answer:
        """`attempt`, tried again where that may help, and not at all while the upstream is known to be down."""
        self._breaker.enter(request)
        try:
            total = self.config.timeouts.total_of(request.kind)
            answer = await with_retries(attempt, host=self.config.host, total=total)
        except faults.Fault as fault:
            self._breaker.failed(fault, request)
            raise
        except BaseException:
            self._breaker.left()
            raise
        self._breaker.succeeded()
        return answer

    @property
    def is_down(self) -> bool:
        """True if the breaker is open, since the upstream did not answer."""
        return self._breaker.is_open

    @property
    def is_login_proven(self) -> bool:
        """True once a token server took the credentials; it may not have been asked yet."""
        return self._auth.proof.proven

    @property
    def egress_proxy(self) -> str | None:
        """host:port of the egress proxy that the upstream is asked through; None: directly. Raises a fault."""
        return self._transport.way_to(self._origin)

    async def attempt(self, request: UpstreamRequest) -> UpstreamResponse:
        """`send` without a new try: raises Transient if one may help. For this room only, as the next two."""
        if request.method == "HEAD" and request.kind == "blobs":
            return await self._heads.find(self, request)
        return await self.check(request, await self.exchange(request, request.method))

    async def check(self, request: UpstreamRequest, response: UpstreamResponse) -> UpstreamResponse:
        """`response` where it is what was asked for; else its fault is raised, or Transient."""
        status = response.status
        if status == 200 or response.location is not None:
            return response
        if self.config.pullgate and origin_of(response.url) == self._origin:
            told = await read_told_fault(response)
            if told is not None:
                raise Transient(told) if status in _PASSING else told
        if status == 304 and request.if_none_match is not None:
            return response
        if status in {206, 416} and request.range is not None:
            return _checked_part(request, response)
        errors = await read_errors(response)
        response.release()
        said = said_of(errors, self.config, response.shown.header if response.shown is not None else "")
        if status in _PASSING or (status == 429 and origin_of(response.url) != self._origin):
            raise Transient(self._failure(response).quote(said))
        if status == 429:
            raise self._limits[request.kind].remember(response.headers.get("Retry-After"), said)
        fault = await self._final_fault(request, response, errors, said)
        self._auth.answered(response.shown)
        raise fault.quote(said or fault.said)

    async def _final_fault(
        self, request: UpstreamRequest, response: UpstreamResponse, errors: Errors, said: str
    ) -> faults.Fault:
        status, host = response.status, self.config.host
        if status >= 500 and status != 501:
            return self._failure(response)
        if status >= 400 and status != 404 and origin_of(response.url) != self._origin:
            return fault_of_storage(response.host, request, status)
        if status != 401:
            return fault_of_address(host, status, said) or fault_of_answer(host, request, status, errors)
        challenge = " ".join(response.headers.getall("WWW-Authenticate", ()))[:8192]
        if self.config.credentials is None or "insufficient_scope" in challenge:
            return faults.UpstreamForbidden(host, request.repository)
        refused = faults.UpstreamUnauthorized(host).quote(said)
        if response.shown is None:
            return refused
        if request.kind == "ping":
            self._auth.note_refused(refused)
            return refused
        good = await self._is_login_good(request, response.shown)
        if good:
            return faults.UpstreamForbidden(host, request.repository)
        self._auth.note_refused(refused, request.repository if good is None else "")
        return refused

    async def _is_login_good(self, request: UpstreamRequest, shown: Authorization) -> bool | None:
        """True if the upstream accepts the login that it refused for a repository; None if nothing tells."""
        try:
            realm = self._auth.realm_of(request.repository, request.kind, shown)
            if realm is not None:
                return await self._auth.proof.is_good(realm)
            ping = await self._follow(_PING, "GET", shown)
            ping.release()
            if ping.status != 200:
                return False if ping.status in {401, 403} else None
            stranger = await self.knock()
            stranger.release()
        except (Transient, faults.Fault):
            return None
        return True if stranger.status == 401 else None

    def _failure(self, response: UpstreamResponse) -> faults.UpstreamError:
        fault = faults.UpstreamError(response.host, response.status)
        fault.elsewhere = origin_of(response.url) != self._origin
        return fault

    async def exchange(self, request: UpstreamRequest, method: Method) -> UpstreamResponse:
        """The upstream's answer, whatever it is, after a challenge was answered and redirects were followed."""
        self._limits[request.kind].check()
        since = self._clock()
        shown = await self._auth.authorize(request.repository, request.kind)
        response = await self._show(request, method, shown)
        try:
            better = await self._better(request, response, shown, since)
        except BaseException:
            response.release()
            raise
        if better is not None:
            # The little that a refusal says is read, so that its connection can be used again.
            await read_errors(response)
            first, response, shown = response, await self._show(request, method, better), better
            first.release()
        if shown is not None and shown.header:
            response.shown = shown
            if response.status not in _REFUSALS or origin_of(response.url) != self._origin:
                self._auth.accepted(request.repository, request.kind, shown)
        return response

    async def _show(
        self, request: UpstreamRequest, method: Method, authorization: Authorization | None
    ) -> UpstreamResponse:
        try:
            return await self._follow(request, method, authorization)
        except BaseException:
            self._auth.answered(authorization, told=False)
            raise

    async def _better(
        self, request: UpstreamRequest, response: UpstreamResponse, shown: Authorization | None, since: float
    ) -> Authorization | None:
        """The authorization to retry with after `response`; None if it is final. Raises a fault of the login."""
        status, failed = response.status, shown.failed if shown is not None else None
        if origin_of(response.url) != self._origin or status < 400:
            return None
        if status in _REFUSALS:
            challenges = response.headers.getall("WWW-Authenticate", ()) if status == 401 else ()
            better = await self._auth.answer(request.repository, shown, challenges, since, request.kind)
            if better is None and failed is not None:
                raise failed
            return better
        if status == 404 and failed is not None:
            raise failed  # a stranger's 404 says nothing
        hides = status == 404 and shown is None and request.kind != "ping" and not self.config.pullgate
        if hides and self.config.credentials is not None:
            return await self._introduce(request)
        return None

    async def _introduce(self, request: UpstreamRequest) -> Authorization:
        """Some registries hide a private repository from strangers by 404, and ask nobody for a login."""
        ping = await self.knock()
        challenges = ping.headers.getall("WWW-Authenticate", ()) if ping.status == 401 else ()
        ping.release()
        return await self._auth.introduce(request.repository, challenges)

    async def _follow(
        self, request: UpstreamRequest, method: Method, authorization: Authorization | None
    ) -> UpstreamResponse:
        url = URL(self._base + request.path, encoded=True)
        headers = _build_headers(request, authorization)
        marked = self.config.marker is not None and authorization is not None
        if self.config.marker is not None and marked:
            headers[TEST_HEADER] = self.config.marker.make(self._wall_clock())
        for _ in range(MAX_REDIRECTS + 1):
            raw = await self._exchange(request, method, url, headers)
            if marked:
                self._hear_of_test(raw, headers)
            if raw.status not in _REDIRECTS:
                return self._response(raw, None)
            try:
                target = self._guard.redirect(url, raw.headers.get("Location"))
            except faults.RedirectRefused:
                raw.close()
                raise
            leaves = origin_of(target) != origin_of(url)
            if leaves and not request.follow_redirects:
                return self._response(raw, target)
            raw.release()
            if leaves:
                # Once dropped it stays dropped, also where a redirect leads back.
                headers.pop("Authorization", None)
                headers.pop(TEST_HEADER, None)
            url = target
        raise faults.RedirectRefused(self.config.host, f"more than {MAX_REDIRECTS} redirects")

    def _hear_of_test(self, raw: aiohttp.ClientResponse, headers: dict[str, str]) -> None:
        """Note what a proxy says of a test that it let pass. A refusal may come before anything is counted."""
        if TEST_HEADER not in headers or raw.status >= 400:
            return
        self.counted_as_customer |= raw.headers.get(TEST_HEADER) != COUNTED_APART
        self.limit_used = faults.plain_text(raw.headers.get(LIMIT_HEADER, ""), NOTICE_LIMIT) or self.limit_used

    async def _exchange(
        self, request: UpstreamRequest, method: Method, url: URL, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        first_byte = self.config.timeouts.first_byte_of(request.kind)
        try:
            return await self._transport.exchange(method, url, headers, first_byte=first_byte)
        except Transient as transient:
            transient.fault.elsewhere = origin_of(url) != self._origin
            raise
        except faults.Fault as fault:
            fault.elsewhere = origin_of(url) != self._origin
            raise

    def _response(self, raw: aiohttp.ClientResponse, location: URL | None) -> UpstreamResponse:
        label, idle = self._transport.label(raw.url), self.config.timeouts.idle
        return UpstreamResponse(raw, label, idle, location, self._budget, self._holders)


def _build_headers(request: UpstreamRequest, authorization: Authorization | None) -> dict[str, str]:
    headers: dict[str, str] = {}
    if authorization is not None and authorization.header:
        headers["Authorization"] = authorization.header
    if request.accept:
        headers["Accept"] = ", ".join(request.accept)
    if request.range is not None:
        headers["Range"] = request.range
        if request.if_range is not None:
            headers["If-Range"] = request.if_range
    if request.fresh:
        headers["Cache-Control"] = "no-cache"
    if request.if_none_match is not None:
        headers["If-None-Match"] = request.if_none_match
    return headers


def _checked_part(request: UpstreamRequest, response: UpstreamResponse) -> UpstreamResponse:
    """`response`, unless it is another part than was asked for."""
    if response.status == 206:
        if "," in (request.range or "") and is_multipart(response):
            return response
        part = parse_content_range(response.headers.get("Content-Range", ""))
        if part is None or not answers_range(request.range or "", part):
            response.abort()
            raise faults.UpstreamProtocol(response.host, "it sent another part than was asked for")
    return response


__all__ = [
    "FetchedManifest",
    "ResolvedManifest",
    "Upstream",
    "UpstreamRequest",
    "UpstreamResponse",
]
