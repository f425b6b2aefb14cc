"""Prove from the upstream that an allowed tag leads to a digest: it is the memory that restarts and replicas share.

Asked only when no grant is known: after a restart, on another replica, for a digest that was never pulled by its tag.
Bounded in tags, requests at once, time, and how often: one search at a time for a scope, and not again for a while,
since a search that found nothing has granted all there is.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from pullgate.faults import ManifestUnknown, RepositoryUnknown, UpstreamTimeout
from pullgate.oci.manifest import MANIFEST_TYPES, parse_manifest
from pullgate.policy.entitlement import RepositoryAccess
from pullgate.upstream.client import Upstream
from pullgate.upstream.request import Method, UpstreamRequest
from pullgate_proxy.lineage.grants import Children, Grants, Scope
from pullgate_proxy.pipeline.lists import fetch_tag_page

TAG_LIMIT = 1000
"""Allowed tags looked at, the newest versions first."""
PAGE_LIMIT = 20
AT_ONCE = 8
SECONDS = 20.0
SEARCH_SECONDS = 10.0
"""How long a search that went to the end stands: invented digests cost the upstream no more than that."""
SCOPE_LIMIT = 4096

Clock = Callable[[], float]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question:
    """May `digest` be pulled from `repository` under the rule of `access`?"""

    upstream: Upstream
    repository: str
    access: RepositoryAccess
    scope: Scope
    digest: str
    is_blob: bool


class Prover:
    """Answers Questions, and notes in Grants whatever it proves on the way."""

    def __init__(self, grants: Grants, children: Children, clock: Clock) -> None:
        self._grants = grants
        self._children = children
        self._clock = clock
        self._locks: dict[bytes, asyncio.Lock] = {}
        self._searched: dict[bytes, float] = {}

    async def prove(self, question: Question) -> bool:
        """Whether an allowed tag leads to the digest. Raises the upstream's faults, UpstreamTimeout when it is slow."""
        lock = self._locks.setdefault(question.scope.key, asyncio.Lock())
        try:
            async with asyncio.timeout(SECONDS), lock:
                return self._is_granted(question) or await self._look(question)
        except TimeoutError as error:
            raise UpstreamTimeout(question.upstream.config.host, SECONDS) from error
        finally:
            if not lock.locked():
                self._locks.pop(question.scope.key, None)

    def grant(self, scope: Scope, *digests: str) -> None:
        """Digests that an allowed tag, or a manifest that may be pulled, was just seen to lead to."""
        self._grants.add(scope, digests, self._clock())

    def learn(self, scope: Scope, digest: str, body: bytes, media_type: str) -> None:
        """A verified manifest that may be pulled: grant it and all that it names."""
        manifests, blobs = self._named(digest, body, media_type)
        self._grants.add(scope, (digest, *manifests, *blobs), self._clock())

    def _is_granted(self, question: Question) -> bool:
        return self._grants.holds(question.scope, question.digest, self._clock())

    async def _look(self, question: Question) -> bool:
        scope = question.scope.key
        if self._searched.get(scope, 0.0) <= self._clock():
            if await self._search(question):
                return True
            self._searched.pop(scope, None)
            self._searched[scope] = self._clock() + SEARCH_SECONDS
            while len(self._searched) > SCOPE_LIMIT:
                del self._searched[next(iter(self._searched))]
        return not question.is_blob and await self._is_about_granted(question)

    async def _search(self, question: Question) -> bool:
        """Level by level: the tags' own digests, then what indexes name, then what manifests name."""
        level: dict[str, None] = {}
        tags = await self._tags(question)
        async for digests in _in_batches(lambda tag: self._resolve(question, tag), tags):
            level.update(dict.fromkeys(filter(None, digests)))
        self._grants.add(question.scope, tuple(level), self._clock())
        for _ in range(3):  # tag -> index -> (nested index ->) manifest
            if self._is_granted(question):
                return True
            below: dict[str, None] = {}
            async for batch in _in_batches(lambda digest: self._expand(question, digest), list(level)):
                below.update(dict.fromkeys(itertools.chain.from_iterable(batch)))
                if self._is_granted(question):
                    return True
            level = below
        return self._is_granted(question)

    async def _tags(self, question: Question) -> list[str]:
        exact = question.access.exact_tags
        if exact is not None:
            return list(exact)[:TAG_LIMIT]
        allowed: list[str] = []
        query: str | None = "n=1000"
        asked: set[str] = set()
        while query is not None and query not in asked and len(asked) < PAGE_LIMIT:
            asked.add(query)
            page = await fetch_tag_page(question.upstream, question.repository, query)
            allowed += filter(question.access.allows_tag, page.tags)
            query = page.next_query
        return sorted(allowed, key=_version, reverse=True)[:TAG_LIMIT]

    async def _resolve(self, question: Question, tag: str) -> str:
        try:
            resolved = await question.upstream.resolve_manifest(self._request(question, "HEAD", tag))
        except (ManifestUnknown, RepositoryUnknown):
            return ""
        return resolved.digest

    async def _expand(self, question: Question, digest: str) -> tuple[str, ...]:
        """Grant what the manifest `digest` names; the manifests among it."""
        named = self._children.get(digest)
        if named is None:
            try:
                fetched = await question.upstream.fetch_manifest(self._request(question, "GET", digest))
            except (ManifestUnknown, RepositoryUnknown):
                return ()
            named = self._named(digest, fetched.body, fetched.media_type)
        manifests, blobs = named
        self._grants.add(question.scope, manifests + blobs, self._clock())
        return manifests

    async def _is_about_granted(self, question: Question) -> bool:
        """Whether the manifest is a referrer (signature, SBOM) whose subject is granted: one request at most."""
        try:
            fetched = await question.upstream.fetch_manifest(self._request(question, "GET", question.digest))
            manifest = parse_manifest(fetched.body, fetched.media_type)
        except (ManifestUnknown, RepositoryUnknown, ValueError):
            return False
        if manifest.subject is None or not self._grants.holds(question.scope, manifest.subject, self._clock()):
            return False
        self.learn(question.scope, question.digest, fetched.body, fetched.media_type)
        return True

    def _named(self, digest: str, body: bytes, media_type: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        named = self._children.get(digest)
        if named is None:
            try:
                manifest = parse_manifest(body, media_type)
            except ValueError:
                named = ((), ())
            else:
                named = (manifest.children, manifest.blobs)
            self._children.put(digest, *named)
        return named

    def _request(self, question: Question, method: Method, reference: str) -> UpstreamRequest:
        return UpstreamRequest(method, question.repository, "manifests", reference, accept=MANIFEST_TYPES)


async def _in_batches(call: Callable[[str], Awaitable[T]], items: list[str]) -> AsyncIterator[list[T]]:
    """The results in order, AT_ONCE calls under way at a time; the rest is not begun when the reader stops early."""
    for start in range(0, len(items), AT_ONCE):
        yield await asyncio.gather(*map(call, items[start : start + AT_ONCE]))


_NUMBER = re.compile(r"(\d+)")


def _version(tag: str) -> list[tuple[int, int, str]]:
    """A key that sorts 1.10 after 1.9."""
    return [(1, int(part[:18]), "") if part.isdecimal() else (0, 0, part) for part in _NUMBER.split(tag)]
