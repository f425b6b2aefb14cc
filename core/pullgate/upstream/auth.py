"""The Authorization for an upstream: none, Basic, or a Bearer token of the token server that the upstream names.

Nothing is sent before the upstream asked for it, or hid a repository from strangers. One repository's challenge says
nothing about another's: each has its own memory, and a new repository begins with the way that worked last. A way that
fails is forgotten, and the upstream is asked again as a stranger: its token server may have moved.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from pullgate import faults
from pullgate.oci.challenge import Challenge, parse_challenges
from pullgate.providers.credentials import Credentials
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.guard import Guard
from pullgate.upstream.proof import LoginProof
from pullgate.upstream.refusals import LoginRefusals
from pullgate.upstream.tokens import Realm, Token, TokenServer, TokenStore

_SCOPE_LIMIT = 1024
_PLACES = 2048
_READ_ACTIONS = ("pull", "metadata_read")
"""`metadata_read` is Azure's for lists of tags (renovate#14708)."""

Place = tuple[str, bool]
"""A repository, and whether its tags are listed: Azure wants another scope for these."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to ask: with a token of `realm` for `scope`, or with Basic if there is no realm."""

    realm: Realm | None = None
    scope: str = ""


BASIC: Final = Way()


@dataclass(frozen=True, slots=True)
class Authorization:
    """A header value with the way that it is from; no header if that way failed."""

    header: str = field(default="", repr=False)
    token: Token | None = None
    way: Way = BASIC
    failed: faults.Fault | None = None
    """Why the remembered way brought nothing to send."""


def basic_header(credentials: Credentials) -> str:
    """The Authorization value of RFC 7617, in UTF-8."""
    return "Basic " + base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()


class Authorizer:
    """Authorizes requests to one upstream with one set of credentials, by the challenges that it sent so far."""

    def __init__(
        self,
        config: UpstreamConfig,
        guard: Guard,
        server: TokenServer,
        clock: Callable[[], float],
        refusals: LoginRefusals,
    ) -> None:
        self._credentials = config.credentials
        self._guard = guard
        self._refusals = refusals
        self.proof = LoginProof(config, server, clock, refusals)
        self._tokens = TokenStore(self.proof, clock)
        self._usual: Way | None = None
        self._ways: OrderedDict[Place, Way] = OrderedDict()

    async def authorize(self, repository: str, kind: str = "manifests") -> Authorization | None:
        """The authorization for `repository` ("" is the ping) by the way that worked last; None: send none."""
        way = self._ways.get(_place(repository, kind))
        if way is None:
            if self._usual is None:
                return None
            way = self._usual if self._usual.realm is None else Way(self._usual.realm, _default_scope(repository))
        try:
            return await self._authorization(way, repository)
        except faults.UpstreamRateLimited:
            raise
        except faults.Fault as fault:
            if not isinstance(fault, (faults.UpstreamUnauthorized, faults.UpstreamForbidden)):
                self._forget(way.realm)
            return Authorization(way=way, failed=fault)

    async def answer(
        self,
        repository: str,
        refused: Authorization | None,
        challenges: Iterable[str],
        since: float,
        kind: str = "manifests",
    ) -> Authorization | None:
        """The authorization to send after a refusal; None if no better one than `refused` is known.

        `challenges` are the WWW-Authenticate values; if empty (ECR Public's 400), retry the same way with a new token.
        `since` is when the caller's request began: a token that is younger was refused fresh, and is not renewed.
        Raises RealmRefused, and the faults of a token server.
        """
        challenge = _choose(parse_challenges(challenges))
        old = refused.token if refused else None
        if challenge is None:
            return await self._renewed(refused.way, repository, old, since) if refused and old else None
        if challenge.scheme == "basic":
            # Harbor asks so for a repository that a granted token may not read (v2auth/auth.go, getChallenge). Basic
            # is tried, and remembered only if it is accepted.
            if self._credentials is None or (refused is not None and refused.header and old is None):
                return None
            return await self._authorization(BASIC, repository)
        way = self._read(challenge, repository)
        if refused is not None and refused.failed is not None and way == refused.way:
            raise refused.failed
        self._remember(_place(repository, kind), way)
        return await self._renewed(way, repository, old, since)

    async def introduce(self, repository: str, challenges: Iterable[str]) -> Authorization:
        """The authorization to send after an anonymous 404. `challenges` are the ping's. Needs credentials."""
        challenge = _choose(parse_challenges(challenges))
        if challenge is None or challenge.scheme == "basic":
            return await self._authorization(BASIC, repository)
        realm = self._read(challenge, "").realm
        return await self._authorization(Way(realm, _default_scope(repository)), repository)

    def accepted(self, repository: str, kind: str, shown: Authorization) -> None:
        """The upstream did not refuse what was shown for `repository`."""
        self.answered(shown)
        self._remember(_place(repository, kind), shown.way)
        if shown.way.realm is not None or self._usual is None:
            self._usual = shown.way
        if shown.way.realm is None:
            self._refusals.clear(repository)

    def realm_of(self, repository: str, kind: str, shown: Authorization) -> Realm | None:
        """The token server that knows the login shown for `repository`; None if there is none."""
        way = self._ways.get(_place(repository, kind)) or self._usual
        return shown.way.realm or (way.realm if way is not None else None)

    def answered(self, shown: Authorization | None, *, told: bool = True) -> None:
        """The upstream judged what was shown; `told` is False if its answer did not come."""
        if shown is not None and shown.header and shown.way.realm is None:
            self._refusals.end_first_try(told=told)

    def note_refused(self, fault: faults.Fault, repository: str = "") -> None:
        """The login was refused by the upstream itself: for `repository`, or at all."""
        if self._credentials is not None:
            self._refusals.note(fault, repository)

    async def close(self) -> None:
        """End fetches that run."""
        await self._tokens.close()

    async def _authorization(self, way: Way, repository: str, instead_of: Token | None = None) -> Authorization:
        if way.realm is not None:
            token = await self._tokens.get(way.realm, way.scope, repository, instead_of=instead_of)
            return Authorization(token.header, token, way)
        if self._credentials is None:
            return Authorization(way=way)
        await self._refusals.wait_for_first_try()
        self._refusals.check(repository)
        return Authorization(basic_header(self._credentials), way=way)

    async def _renewed(self, way: Way, repository: str, old: Token | None, since: float) -> Authorization | None:
        if way.realm is None:
            return None
        if old is not None and old.is_of(way.realm, way.scope) and old.fetched_at >= since:
            return None
        return await self._authorization(way, repository, old)

    def _read(self, challenge: Challenge, repository: str) -> Way:
        """The way that a Bearer challenge asks for. Raises RealmRefused."""
        url = self._guard.realm(challenge.parameters["realm"])
        scope = challenge.parameters.get("scope", "")
        if "scope" in url.query:  # nvcr.io: the scope stands in the realm
            scope = scope or url.query["scope"]
            url = url.without_query_params("scope")
        wanted = _readable_scope(scope, repository) or _default_scope(repository)
        return Way(Realm(url, challenge.parameters.get("service", "")), wanted)

    def _remember(self, place: Place, way: Way) -> None:
        self._ways[place] = way
        self._ways.move_to_end(place)
        if len(self._ways) > _PLACES:
            self._ways.popitem(last=False)

    def _forget(self, realm: Realm | None) -> None:
        for place in [place for place, way in self._ways.items() if way.realm == realm]:
            del self._ways[place]
        if self._usual is not None and self._usual.realm == realm:
            self._usual = None


def _place(repository: str, kind: str) -> Place:
    return repository, kind == "tags"


def _default_scope(repository: str) -> str:
    return f"repository:{repository}:pull" if repository else ""


def _readable_scope(scope: str, repository: str) -> str:
    """`scope` with its actions that read; some registries name scopes of their own ("aws"). Empty: nothing usable."""
    if len(scope) > _SCOPE_LIMIT or not scope.isprintable():
        return ""
    kept: list[str] = []
    for one in scope.split():
        kind, colon, rest = one.partition(":")
        name, _, actions = rest.rpartition(":")
        if not colon:
            kept.append(one)
        elif kind == "repository" and name and repository:
            wanted = [action for action in actions.split(",") if action in _READ_ACTIONS]
            kept.append(f"repository:{name}:{','.join(wanted) or 'pull'}")
    return " ".join(kept)


def _choose(challenges: list[Challenge]) -> Challenge | None:
    """Bearer if it can be had, for it shows the credentials to the upstream least; else Basic."""
    for challenge in challenges:
        if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
            return challenge
    return next((challenge for challenge in challenges if challenge.scheme == "basic"), None)
