"""Is the login right? A token server that refuses a scope may mean the password or the permission.

So a refusal with a scope is asked once without it: that is the login alone. Harbor, Quay, Google, Azure and
DigitalOcean refuse a missing permission as they refuse a bad login. Harbor grants a wrong login an empty token for a
scope (core/service/token/creator.go), and refuses it only without one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from pullgate import faults
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.refusals import LoginRefusals
from pullgate.upstream.tokens import Grant, Realm, TokenServer

RECENT: Final = 10.0
"""Seconds in which a login that was granted counts as good, so that many refusals ask once."""


class LoginProof:
    """A token server whose refusals are classified and remembered; see `TokenServer`."""

    def __init__(
        self, config: UpstreamConfig, server: TokenServer, clock: Callable[[], float], refusals: LoginRefusals
    ) -> None:
        self._config, self._server, self._clock, self._refusals = config, server, clock, refusals
        self._lock = asyncio.Lock()
        self._granted: dict[Realm, float] = {}
        self.proven = False
        """True once a token server accepted these credentials, and not just an anonymous request."""

    async def fetch(self, realm: Realm, scope: str, repository: str) -> Grant:
        """A token for `scope`. Raises UpstreamUnauthorized for a bad login, UpstreamForbidden for a permission."""
        if self._config.credentials is None:
            return await self._server.fetch(realm, scope, repository)
        await self._refusals.wait_for_first_try()
        told = False
        try:
            grant = await self._fetch(realm, scope, repository)
            told = True
        except (faults.UpstreamUnauthorized, faults.UpstreamForbidden):
            told = True
            raise
        finally:
            self._refusals.end_first_try(told=told)
        return grant

    async def is_good(self, realm: Realm) -> bool | None:
        """True if `realm` grants the login without a scope; None: nothing tells."""
        async with self._lock:
            granted = self._granted.get(realm)
            if granted is not None and self._clock() - granted < RECENT:
                return True
            try:
                await self._log_in(realm)
            except faults.UpstreamUnauthorized:
                return False
            except faults.Fault:
                return None
            return True

    async def _fetch(self, realm: Realm, scope: str, repository: str) -> Grant:
        if not scope:
            return await self._log_in(realm)
        held = self._refusals.held
        self._refusals.check(repository)
        if held:
            await self._log_in(realm, checked=True)
        try:
            return await self._server.fetch(realm, scope, repository)
        except faults.UpstreamUnauthorized as refused:
            if not await self.is_good(realm):
                raise
            raise faults.UpstreamForbidden(self._config.host, repository).quote(refused.said) from None

    async def _log_in(self, realm: Realm, *, checked: bool = False) -> Grant:
        """A token for nothing but the login; what comes of it is remembered."""
        if not checked:
            self._refusals.check("")
        since = self._clock()
        try:
            grant = await self._server.fetch(realm, "", "")
        except faults.UpstreamUnauthorized as refused:
            self._refusals.note(refused)
            raise
        self._refusals.clear()
        self._granted = {realm: since}
        self.proven = True
        return grant
