"""Bearer tokens: asked of a token server (distribution's token specification, GET and OAuth2 POST), and kept.

A fetch belongs to nobody in particular: it goes on when the request that began it is gone, as others may wait for it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from yarl import URL

from pullgate.oci.json_text import read_json

DEFAULT_LIFETIME = 60.0
"""Seconds of a token whose server does not say ("token" specification: expires_in)."""
_LONGEST_LIFETIME = 12 * 3600.0
_TOKEN_LIMIT = 24 * 1024
_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class Realm:
    """A token server that passed the guard, and the service that it is asked for."""

    url: URL
    service: str


@dataclass(slots=True)
class Token:
    """A token, and when it is renewed (monotonic seconds)."""

    header: str = field(repr=False)
    """The whole Authorization value."""
    realm: Realm
    scope: str
    fetched_at: float
    stale_at: float
    """From here on a new one is fetched while this one still serves."""
    ends_at: float
    """From here on it does not serve; a little before its real end."""

    def is_of(self, realm: Realm, scope: str) -> bool:
        """True if `realm` issued it for `scope`."""
        return self.realm == realm and self.scope == scope


class TokenServer(Protocol):
    """Asks a realm for a token."""

    async def fetch(self, realm: Realm, scope: str, repository: str) -> Grant:
        """Raises a fault; `repository` is for its words."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A token server's answer."""

    token: str = field(repr=False)
    lifetime: float
    """Seconds."""


def parse_grant(body: bytes) -> Grant:
    """`token` or `access_token`, and `expires_in`. Raises ValueError, in words, where there is no usable token."""
    try:
        document: Any = read_json(body)
    except ValueError:
        raise ValueError("the token server did not answer in JSON") from None
    if not isinstance(document, dict):
        raise ValueError("the token server did not answer with an object")
    token = document.get("token") or document.get("access_token")
    if not isinstance(token, str) or not token:
        raise ValueError("the token server sent no token")
    if len(token) > _TOKEN_LIMIT or not all("!" <= character <= "~" for character in token):
        raise ValueError("the token server sent a token that cannot be sent on")
    lifetime = document.get("expires_in")
    if isinstance(lifetime, bool) or not isinstance(lifetime, (int, float)) or not 0 < lifetime < float("inf"):
        lifetime = DEFAULT_LIFETIME
    return Grant(token, float(min(lifetime, _LONGEST_LIFETIME)))


class TokenStore:
    """The tokens of one set of credentials, by realm and scope; the least used go when there are too many."""

    def __init__(self, server: TokenServer, clock: Callable[[], float]) -> None:
        self._server = server
        self._clock = clock
        self._tokens: OrderedDict[tuple[Realm, str], Token] = OrderedDict()
        self._fetches: dict[tuple[Realm, str], asyncio.Task[Token]] = {}

    async def get(self, realm: Realm, scope: str, repository: str, *, instead_of: Token | None = None) -> Token:
        """A token that still serves, and is not the refused `instead_of`. Raises the token server's faults."""
        key = (realm, scope)
        token = self._tokens.get(key)
        now = self._clock()
        if token is not None and token is not instead_of and now < token.ends_at:
            self._tokens.move_to_end(key)
            if now >= token.stale_at:
                token.stale_at = token.ends_at  # one early renewal: if it fails, the next is at the end
                self._begin(key, repository)
            return token
        # Shielded: a waiter may be cancelled, the fetch is for all.
        return await asyncio.shield(self._begin(key, repository))

    async def close(self) -> None:
        """Cancel the fetches that run."""
        fetches = list(self._fetches.values())
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)

    def _begin(self, key: tuple[Realm, str], repository: str) -> asyncio.Task[Token]:
        running = self._fetches.get(key)
        if running is None:
            running = asyncio.create_task(self._fetch(key, repository))
            self._fetches[key] = running
            running.add_done_callback(lambda task: self._end(key, task))
        return running

    def _end(self, key: tuple[Realm, str], task: asyncio.Task[Token]) -> None:
        self._fetches.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen: nobody may be left to wait for it

    async def _fetch(self, key: tuple[Realm, str], repository: str) -> Token:
        realm, scope = key
        began = self._clock()
        grant = await self._server.fetch(realm, scope, repository)
        ends_at = began + grant.lifetime - min(5.0, grant.lifetime / 10)
        token = Token(f"Bearer {grant.token}", realm, scope, began, began + grant.lifetime * 0.8, ends_at)
        self._tokens[key] = token
        self._tokens.move_to_end(key)
        if len(self._tokens) > _TOKENS:
            self._tokens.popitem(last=False)
        return token
