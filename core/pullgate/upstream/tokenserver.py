"""One request to a token server."""

from __future__ import annotations

from collections.abc import Mapping

from yarl import URL

from pullgate import faults
from pullgate.upstream.answers import fault_of_address, read_errors, read_told_fault, said_of
from pullgate.upstream.auth import basic_header
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.failures import Transient
from pullgate.upstream.guard import Guard
from pullgate.upstream.ratelimit import RateLimit
from pullgate.upstream.request import UpstreamResponse
from pullgate.upstream.retry import with_retries
from pullgate.upstream.tokens import Grant, Realm, parse_grant
from pullgate.upstream.transport import Transport

ANSWER_LIMIT = 256 * 1024
"""Bytes of a token server's answer."""
_CLIENT_ID = "pullgate"


class HttpTokenServer:
    """Asks by GET with Basic; by a POSTed form where GET is not there (404, 405), which is remembered."""

    def __init__(self, config: UpstreamConfig, guard: Guard, transport: Transport, limit: RateLimit) -> None:
        """`limit` is of the token server alone: a lock-out of logins concerns nobody who has a token."""
        self._config = config
        self._guard = guard
        self._transport = transport
        self._limit = limit
        self._posts: set[Realm] = set()

    async def fetch(self, realm: Realm, scope: str, repository: str) -> Grant:
        """A token for `scope`. Raises a fault."""
        self._limit.check()
        response = await self._ask(realm, scope)
        if response.status // 100 != 2:
            said = said_of(await read_errors(response), self._config)
            response.release()
            raise self._refusal(response, repository, said).quote(said)
        try:
            return parse_grant(await response.read(ANSWER_LIMIT))
        except ValueError as error:
            raise faults.UpstreamProtocol(self._config.host, str(error)) from None

    async def _ask(self, realm: Realm, scope: str) -> UpstreamResponse:
        total = self._config.timeouts.total
        if realm not in self._posts:
            response = await with_retries(lambda: self._get(realm, scope), host=self._config.host, total=total)
            if response.status not in {404, 405} or self._config.credentials is None:
                return response
            response.release()
        # A POST is sent once: it may not be idempotent.
        response = await with_retries(lambda: self._post(realm, scope), host=self._config.host, total=total, retries=0)
        if response.status // 100 == 2:
            self._posts.add(realm)
        return response

    async def _get(self, realm: Realm, scope: str) -> UpstreamResponse:
        query = {name: value for name, value in (("service", realm.service), ("scope", scope)) if value}
        headers = {"Authorization": basic_header(self._config.credentials)} if self._config.credentials else {}
        return await self._exchange("GET", realm.url.extend_query(query), headers, None)

    async def _post(self, realm: Realm, scope: str) -> UpstreamResponse:
        credentials = self._config.credentials
        form = {"grant_type": "password", "service": realm.service, "scope": scope, "client_id": _CLIENT_ID}
        if credentials is not None:
            form |= {"username": credentials.username, "password": credentials.password}
        return await self._exchange("POST", realm.url, {}, form)

    async def _exchange(
        self, method: str, url: URL, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> UpstreamResponse:
        host = self._transport.label(url)
        try:
            raw = await self._transport.exchange(method, url, headers, form)
        except faults.RedirectRefused:
            # The guard refused its address.
            raise self._guard.refused_realm(url, "a private address") from None
        response = UpstreamResponse(raw, host, self._config.timeouts.idle)
        told = await read_told_fault(response) if self._config.pullgate else None
        if response.status in {502, 503, 504}:
            response.release()
            raise Transient(told or faults.UpstreamError(host, response.status))
        if told is not None:
            raise told
        return response

    def _refusal(self, response: UpstreamResponse, repository: str, said: str) -> faults.Fault:
        """The fault of a token server's answer that is no token."""
        status, host = response.status, self._config.host
        if 300 <= status < 400:
            return faults.RedirectRefused(host, "its token server redirects")
        if status == 429:
            return self._limit.remember(response.headers.get("Retry-After"), said)
        blocked = fault_of_address(host, status, said)
        if blocked is not None:
            return blocked
        if self._config.credentials is not None and status in {400, 401, 403}:
            # GHCR answers an expired token 403; OAuth2 (RFC 6749, section 5.2) a bad password 400.
            return faults.UpstreamUnauthorized(host)
        if status in {401, 403}:
            return faults.UpstreamForbidden(host, repository or "anything")
        if status < 500:
            return faults.UpstreamProtocol(response.host, f"the token server answered {status}")
        return faults.UpstreamError(response.host, status)
