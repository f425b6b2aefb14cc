"""Which Authorization an upstream is shown: none, Basic, or a Bearer token of the token server that it names.

Nothing is sent before the upstream asked for it once; what it asked for is remembered. Tokens are cached per scope, one
fetch runs for a scope at a time, and a refused one is renewed once.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pullgate.oci.challenge import Challenge, parse_challenges
from pullgate.providers.credentials import Credentials
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.guard import Guard
from pullgate.upstream.tokens import Realm, Token, TokenServer, TokenStore

_SCOPE_LIMIT = 1024
_REPOSITORIES = 1024


@dataclass(frozen=True, slots=True)
class Authorization:
    """A header value, and the token in it if it is one."""

    header: str = field(repr=False)
    token: Token | None = None


def basic_header(credentials: Credentials) -> str:
    """The Authorization value of RFC 7617, in UTF-8."""
    return "Basic " + base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()


class Authorizer:
    """What one upstream asked for so far, with one set of credentials."""

    def __init__(self, config: UpstreamConfig, guard: Guard, server: TokenServer, clock: Callable[[], float]) -> None:
        self._credentials = config.credentials
        self._guard = guard
        self._tokens = TokenStore(server, clock)
        self._basic: Authorization | None = None
        self._realm: Realm | None = None
        self._scopes: OrderedDict[str, str] = OrderedDict()

    async def authorize(self, repository: str) -> Authorization | None:
        """What to send for `repository` ("" is the ping) by what the upstream asked for last; None is nothing."""
        if self._realm is not None:
            token = await self._tokens.get(self._realm, self._scope(repository), repository)
            return Authorization(token.header, token)
        return self._basic

    async def answer(
        self, repository: str, refused: Authorization | None, challenges: Iterable[str], since: float
    ) -> Authorization | None:
        """What to send after a refusal; None where nothing better than the `refused` is known.

        `challenges` are the WWW-Authenticate values; none (ECR Public's 400) means: as before, with a new token.
        `since` is when the caller's request began: a token that is younger was refused fresh, and is not renewed.
        Raises RealmRefused, and the faults of a token server.
        """
        challenge = _choose(parse_challenges(challenges))
        old = refused.token if refused else None
        if challenge is None:
            return await self._renewed(repository, old, since) if old else None
        if challenge.scheme == "basic":
            return self._answer_basic(refused)
        self._realm = Realm(self._guard.realm(challenge.parameters["realm"]), challenge.parameters.get("service", ""))
        self._basic = None
        self._learn_scope(repository, challenge)
        return await self._renewed(repository, old, since)

    async def close(self) -> None:
        """End fetches that run."""
        await self._tokens.close()

    def _answer_basic(self, refused: Authorization | None) -> Authorization | None:
        if self._credentials is None or (refused is not None and refused.token is None):
            return None
        self._realm = None
        self._basic = Authorization(basic_header(self._credentials))
        return self._basic

    async def _renewed(self, repository: str, old: Token | None, since: float) -> Authorization | None:
        realm, scope = self._realm, self._scope(repository)
        if realm is None:
            return None
        if old is not None and old.is_of(realm, scope) and old.fetched_at >= since:
            return None
        token = await self._tokens.get(realm, scope, repository, instead_of=old)
        return Authorization(token.header, token)

    def _scope(self, repository: str) -> str:
        known = self._scopes.get(repository)
        if known is not None:
            return known
        return f"repository:{repository}:pull" if repository else ""

    def _learn_scope(self, repository: str, challenge: Challenge) -> None:
        """Some registries name scopes of their own ("aws"); more than to pull is never asked for."""
        scope = challenge.parameters.get("scope", "")
        kind, colon, rest = scope.partition(":")
        if colon:
            name = rest.rpartition(":")[0]
            scope = f"repository:{name}:pull" if kind == "repository" and name and repository else ""
        self._scopes.pop(repository, None)
        if scope and len(scope) <= _SCOPE_LIMIT and scope.isprintable() and " " not in scope:
            self._scopes[repository] = scope
            if len(self._scopes) > _REPOSITORIES:
                self._scopes.popitem(last=False)


def _choose(challenges: list[Challenge]) -> Challenge | None:
    """Bearer where it can be had, for it shows the credentials to the upstream least; else Basic."""
    for challenge in challenges:
        if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
            return challenge
    return next((challenge for challenge in challenges if challenge.scheme == "basic"), None)
