"""Prove from the upstream that an allowed tag leads to a digest: it is the memory that restarts and replicas share.

Asked only when no grant is known: after a restart, on another replica, for a digest that was never pulled by its tag.
Bounded in tags, requests at once, time, and how often: one search at a time for a scope, and not again for a while,
since a search that found nothing has granted all there is. A bound that is reached is no refusal: the answer is
PENDING, and the next question continues where this one stopped.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from pullgate.faults import (
    DigestMismatch,
    Fault,
    ManifestUnknown,
    RedirectRefused,
    RepositoryUnknown,
    UpstreamError,
    UpstreamForbidden,
    UpstreamProtocol,
)
from pullgate.oci.digest import subject_of_tag
from pullgate.oci.manifest import MANIFEST_TYPES, parse_manifest
from pullgate.policy.entitlement import RepositoryAccess
from pullgate.turns import Turns, aside
from pullgate.upstream.client import Upstream
from pullgate.upstream.request import Method, UpstreamRequest
from pullgate_proxy.lineage.grants import Children, Grants, Scope
from pullgate_proxy.lineage.search import KEPT_SECONDS, Search, Searches
from pullgate_proxy.lists.documents import fetch_referrers, fetch_tag_page, referrers_tag
from pullgate_proxy.lists.room import ListRoom

AT_ONCE = 8
REFERRER_PAGES = 10
COSIGN_ENDINGS = (".sig", ".att", ".sbom")
SECONDS = 20.0
"""For a question, the wait for another one's search of the same scope included."""
SEARCH_SECONDS = 10.0
"""How long a search that went to the end stands: invented digests cost the upstream no more than that."""
SCOPE_LIMIT = 4096
_GRANTS_AT_ONCE = 500

Clock = Callable[[], float]
Find = Callable[[bytes], Awaitable[float]]
"""Seconds for which another replica holds the grant of an entry; 0 without one."""


_OF_ONE_DIGEST = (
    ManifestUnknown,
    RepositoryUnknown,
    UpstreamForbidden,
    UpstreamError,
    UpstreamProtocol,
    DigestMismatch,
    RedirectRefused,
)


class Proof(Enum):
    """The answer to a Question."""

    PROVEN = auto()
    REFUTED = auto()
    """Everything that allowed tags lead to was seen, and the digest is not among it."""
    PENDING = auto()
    """The search reached a bound. A new question continues it."""


@dataclass(frozen=True, slots=True)
class Question:
    """May `digest` be pulled from `repository` under the rule of `access`?"""

    upstream: Upstream
    repository: str
    access: RepositoryAccess
    scope: Scope
    digest: str
    is_blob: bool


@dataclass(frozen=True, slots=True)
class _Ended:
    """A search that went to its end."""

    until: float
    """When (monotonic seconds) a new one may begin."""
    complete: bool


class Prover:
    """Answers Questions, and notes in Grants whatever it proves on the way."""

    def __init__(
        self, grants: Grants, children: Children, clock: Clock, lists: ListRoom, find: Find | None = None
    ) -> None:
        """`find` asks the other replicas."""
        self._lists = lists
        self._grants = grants
        self._children = children
        self._clock = clock
        self._find = find
        self._locks: dict[bytes, asyncio.Lock] = {}
        self._ended: dict[bytes, _Ended] = {}
        self._searches = Searches(clock)

    async def prove(self, question: Question) -> Proof:
        """Prove that an allowed tag leads to the digest. Raises the upstream's faults.

        The other replicas are asked before the upstream is searched: one of them may just have resolved the tag.
        """
        if await self._is_granted_elsewhere(question):
            return Proof.PROVEN
        lock = self._locks.setdefault(question.scope.key, asyncio.Lock())
        try:
            async with asyncio.timeout(SECONDS), lock:
                return Proof.PROVEN if self._is_granted(question) else await self._look(question)
        except TimeoutError:
            return Proof.PENDING
        finally:
            if not lock.locked():
                self._locks.pop(question.scope.key, None)

    def grant(self, scope: Scope, *digests: str) -> None:
        """Digests that an allowed tag, or a manifest that may be pulled, was just seen to lead to."""
        self._grants.add(scope, digests, self._clock())

    async def grant_many(self, scope: Scope, digests: Sequence[str]) -> None:
        """As `grant`, for as many as a manifest or a page of referrers names: 3 µs each, so in slices."""
        async with Turns(scope.holders) as turns:
            for start in range(0, len(digests), _GRANTS_AT_ONCE):
                self._grants.add(scope, tuple(digests[start : start + _GRANTS_AT_ONCE]), self._clock())
                await turns.give()

    async def learn(self, scope: Scope, digest: str, body: bytes, media_type: str) -> None:
        """A verified manifest that may be pulled: grant it and all that it names."""
        manifests, blobs = await self._named(scope, digest, body, media_type)
        await self.grant_many(scope, (digest, *manifests, *blobs))

    def _is_granted(self, question: Question) -> bool:
        return self._grants.holds(question.scope, question.digest, self._clock())

    async def _is_granted_elsewhere(self, question: Question) -> bool:
        if self._find is None:
            return False
        entry = question.scope.entry(question.digest)
        seconds = await self._find(entry)
        if seconds <= 0:
            return False
        self._grants.take([entry], seconds, self._clock())
        return True

    async def _look(self, question: Question) -> Proof:
        scope = question.scope.key
        ended = self._ended.get(scope)
        if ended is None or ended.until <= self._clock():
            ended = None
            search = self._searches.take(scope)
            found = False
            try:
                found = await self._search(question, search)
            finally:
                if search.has_more:
                    # A search that a bound stopped has to end some time; else a fresh list of tags is better.
                    self._searches.keep(scope, search, SEARCH_SECONDS if found else KEPT_SECONDS)
            if found:
                return Proof.PROVEN
            ended = _Ended(self._clock() + SEARCH_SECONDS, search.complete)
            self._ended.pop(scope, None)
            self._ended[scope] = ended
            while len(self._ended) > SCOPE_LIMIT:
                del self._ended[next(iter(self._ended))]
        if not question.is_blob and await self._is_about_granted(question):
            return Proof.PROVEN
        return Proof.REFUTED if ended.complete else Proof.PENDING

    async def _search(self, question: Question, search: Search) -> bool:
        """Continue `search` until the digest is granted (True) or nothing is left to look at (False)."""
        while not self._is_granted(question):
            if search.query is not None:
                await self._list_tags(question, search)
            elif search.tags:
                await self._each(search.tags, lambda tag: self._follow_tag(question, search, tag))
            elif search.manifests:
                await self._each(search.manifests, lambda digest: self._expand(question, search, digest))
            elif search.about:
                await self._each(search.about, lambda tag: self._follow_about(question, search, tag))
            elif search.subjects:
                await self._each(search.subjects, lambda digest: self._follow_referrers(question, search, digest))
            else:
                return False
        return True

    async def _each(self, items: deque[str], call: Callable[[str], Awaitable[None]]) -> None:
        """`call` for the next few; they stay in the queue until all have ended, so that a time-out loses none."""
        batch = list(itertools.islice(items, AT_ONCE))
        await asyncio.gather(*map(call, batch))
        for _ in batch:
            items.popleft()

    async def _list_tags(self, question: Question, search: Search) -> None:
        """The allowed tags, a page at a time, and those that are named after a digest."""
        exact = question.access.exact_tags
        if exact is not None:
            search.names_subjects = True
            search.take_tags(exact)
            search.end_list()
            return
        async with self._lists.hold(question.scope.holders):
            page = await fetch_tag_page(question.upstream, question.repository, search.query or "")
            await search.take_page(page, question.access.allows_tag, Turns(question.scope.holders))

    async def _follow_tag(self, question: Question, search: Search, tag: str) -> None:
        try:
            resolved = await question.upstream.resolve_manifest(self._request(question, "HEAD", tag))
        except (ManifestUnknown, RepositoryUnknown):
            return
        except (UpstreamProtocol, DigestMismatch):  # one broken tag says nothing of the others
            search.complete = False
            return
        self._found(question, search, resolved.digest)

    async def _follow_about(self, question: Question, search: Search, tag: str) -> None:
        """A signature's tag, if the digest that it is named after is granted."""
        subject = subject_of_tag(tag)
        if subject is not None and self._grants.holds(question.scope, subject, self._clock()):
            await self._follow_tag(question, search, tag)

    async def _follow_referrers(self, question: Question, search: Search, digest: str) -> None:
        """Follow the referrers of a granted manifest, and cosign's tags if no list of tags showed them."""
        query = ""
        for _ in range(REFERRER_PAGES):
            try:
                async with self._lists.hold(question.scope.holders):
                    referrers = await fetch_referrers(question.upstream, question.repository, digest, query)
            except Fault as fault:
                if fault.status == 429 or not 400 <= fault.status < 500:
                    raise
                break  # refused to this proxy, so no client learned of a referrer here
            for each in referrers.digests:
                self._found(question, search, each)
            query = referrers.next_query or ""
            if not query:
                break
        else:
            search.complete = False
        if search.names_subjects:
            for ending in COSIGN_ENDINGS:
                await self._follow_tag(question, search, referrers_tag(digest) + ending)

    async def _expand(self, question: Question, search: Search, digest: str) -> None:
        """Grant what the manifest `digest` names."""
        named = self._children.get(question.scope, digest)
        if named is None:
            try:
                fetched = await question.upstream.fetch_manifest(self._request(question, "GET", digest))
            except (ManifestUnknown, RepositoryUnknown):
                return
            except (UpstreamProtocol, DigestMismatch):
                search.complete = False
                return
            named = await self._named(question.scope, digest, fetched.body, fetched.media_type)
        manifests, blobs = named
        await self.grant_many(question.scope, manifests + blobs)
        for manifest in manifests:
            search.take_manifest(manifest)

    def _found(self, question: Question, search: Search, digest: str) -> None:
        self._grants.add(question.scope, (digest,), self._clock())
        search.take_manifest(digest)

    async def _is_about_granted(self, question: Question) -> bool:
        """True if the manifest is a referrer (signature, SBOM) whose subject is granted. Costs one request at most.

        False also for an answer that is about this digest alone, such as the layer of another image that the upstream
        sends, or stumbles over: any other answer than to an invented digest would tell that it is there.
        """
        try:
            fetched = await question.upstream.fetch_manifest(self._request(question, "GET", question.digest))
            parse = functools.partial(parse_manifest, fetched.body, fetched.media_type)
            manifest = await aside(len(fetched.body), parse)
        except (*_OF_ONE_DIGEST, ValueError):
            return False
        if manifest.subject is None or not self._grants.holds(question.scope, manifest.subject, self._clock()):
            return False
        await self.learn(question.scope, question.digest, fetched.body, fetched.media_type)
        return True

    async def _named(
        self, scope: Scope, digest: str, body: bytes, media_type: str
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        named = self._children.get(scope, digest)
        if named is None:
            try:
                manifest = await aside(len(body), functools.partial(parse_manifest, body, media_type))
            except ValueError:
                named = ((), ())
            else:
                named = (manifest.children, manifest.blobs)
            self._children.put(scope, digest, *named)
        return named

    def _request(self, question: Question, method: Method, reference: str) -> UpstreamRequest:
        return UpstreamRequest(method, question.repository, "manifests", reference, accept=MANIFEST_TYPES)
