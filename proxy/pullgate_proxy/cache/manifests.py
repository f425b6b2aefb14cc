"""Manifests in memory: by digest, and by tag for as long as the Registry says; asked for once by all who want the same.

An entry is of one Registry (by uid), one upstream host and one repository: what the credentials of one Registry may
read is never an answer to another's, and a digest is known only where that very upstream answered for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from pullgate.oci.digest import is_digest
from pullgate.upstream.manifest import FetchedManifest, ResolvedManifest
from pullgate.upstream.request import UpstreamRequest
from pullgate_proxy.cache.evenly import Evenly
from pullgate_proxy.cache.together import Together
from pullgate_proxy.cache.where import DIGEST_TTL, STALE, Where

ENTRY_COST: Final = 600
"""Bytes of an entry beside its body, about."""
TAGS: Final = 100_000
RESULTS: Final = ("hit", "revalidated", "miss", "stale")
"""How a manifest was come by."""

T = TypeVar("T")
Spend = Callable[[], None]
"""Raises a fault if the upstream may not be asked."""


@dataclass(frozen=True, slots=True)
class _Told:
    """The manifest of a tag or a digest when the upstream was last asked."""

    resolved: ResolvedManifest
    at: float


class Upstream(Protocol):
    """The part of the upstream's client that is needed."""

    async def fetch_manifest(self, request: UpstreamRequest) -> FetchedManifest:
        """GET."""

    async def resolve_manifest(self, request: UpstreamRequest) -> ResolvedManifest:
        """HEAD."""


class ManifestCache:
    """Bounded by bytes; the least used of the app that has most go first.

    `on_result` receives hit, revalidated, miss or stale.
    """

    def __init__(self, limit: int, clock: Callable[[], float], on_result: Callable[[str], None]) -> None:
        """`limit` in bytes; 0 keeps nothing."""
        self._limit, self._clock, self._on_result = limit, clock, on_result
        self._bodies: Evenly[tuple[object, ...], FetchedManifest] = Evenly(limit)
        self._told: Evenly[tuple[object, ...], _Told] = Evenly(TAGS)
        self._together = Together()

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._bodies.size

    async def fetch(
        self, where: Where, request: UpstreamRequest, upstream: Upstream, *, fresh: bool, spend: Spend
    ) -> tuple[FetchedManifest, str]:
        """The manifest, and how it was come by. Raises the upstream's faults.

        `fresh`: the upstream is asked whatever is kept, and no copy stands in for it. `spend` is called before the
        upstream is asked for this caller; what it raises ends this call, and no call of others.
        """
        if not self._limit:
            spend()
            return await upstream.fetch_manifest(request), "off"
        told = self._told.peek(where.registry[0], _reference(where, request))
        kept = self._body(where, request, told.resolved.digest) if told is not None else None
        if kept is not None and told is not None and not fresh and self._is_young(where, request, told):
            return self._answer(kept, "hit")
        asked = dataclasses.replace(request, method="GET")
        key = ("GET", fresh, *_reference(where, request))
        if not self._together.runs(key):
            spend()

        async def ask() -> tuple[FetchedManifest, str]:
            if kept is not None and not fresh:
                resolved = await upstream.resolve_manifest(dataclasses.replace(request, method="HEAD"))
                if resolved.digest == kept.digest:
                    self._tell(where, request, _of(kept))
                    return kept, "revalidated"
            fetched = await upstream.fetch_manifest(asked)
            self._keep(where, request, fetched)
            return fetched, "miss"

        try:
            return self._answer(*await self._together.share(key, ask))
        except STALE:
            if kept is None or told is None or fresh or not self._may_stand_in(where, told):
                raise
            return self._answer(kept, "stale")

    async def resolve(
        self, where: Where, request: UpstreamRequest, upstream: Upstream, *, fresh: bool, spend: Spend
    ) -> tuple[ResolvedManifest, str]:
        """The result of a HEAD, and the cache result; see `fetch`."""
        if not self._limit:
            spend()
            return await upstream.resolve_manifest(request), "off"
        told = self._told.peek(where.registry[0], _reference(where, request))
        if told is not None and not fresh and self._is_young(where, request, told):
            return self._answer(told.resolved, "hit")
        key = ("HEAD", fresh, *_reference(where, request))
        if not self._together.runs(key):
            spend()

        async def ask() -> ResolvedManifest:
            resolved = await upstream.resolve_manifest(request)
            self._tell(where, request, resolved)
            return resolved

        try:
            found = await self._together.share(key, ask)
        except STALE:
            if told is None or fresh or not self._may_stand_in(where, told):
                raise
            return self._answer(told.resolved, "stale")
        same = told is not None and told.resolved.digest == found.digest
        return self._answer(found, "revalidated" if same else "miss")

    def young_until(self, where: Where, request: UpstreamRequest) -> float:
        """Until when (by the clock) `request` is answered from here without asking; 0 if it is not."""
        told = self._told.peek(where.registry[0], _reference(where, request))
        return told.at + self._ttl(where, request) if told is not None else 0.0

    def count_hit(self) -> None:
        """One more was answered by what was found here before."""
        self._on_result("hit")

    async def close(self) -> None:
        """End the requests that run."""
        await self._together.close()

    # --- what is kept ---

    def _is_young(self, where: Where, request: UpstreamRequest, told: _Told) -> bool:
        return self._clock() - told.at < self._ttl(where, request)

    def _ttl(self, where: Where, request: UpstreamRequest) -> float:
        return DIGEST_TTL if is_digest(request.reference) else where.tag_ttl

    def _may_stand_in(self, where: Where, told: _Told) -> bool:
        return self._clock() - told.at <= where.stale_if_error

    def _body(self, where: Where, request: UpstreamRequest, digest: str) -> FetchedManifest | None:
        return self._bodies.get(where.registry[0], (*_place(where, request), digest))

    def _keep(self, where: Where, request: UpstreamRequest, fetched: FetchedManifest) -> None:
        cost = len(fetched.body) + ENTRY_COST
        if cost > self._limit // 4:
            return  # one manifest is not worth all others
        self._bodies.put(where.registry[0], (*_place(where, request), fetched.digest), fetched, cost)
        self._tell(where, request, _of(fetched))
        by_digest = dataclasses.replace(request, reference=fetched.digest)
        self._tell(where, by_digest, _of(fetched))

    def _tell(self, where: Where, request: UpstreamRequest, resolved: ResolvedManifest) -> None:
        self._told.put(where.registry[0], _reference(where, request), _Told(resolved, self._clock()))

    def _answer(self, found: T, result: str) -> tuple[T, str]:
        self._on_result(result)
        return found, result


def _of(fetched: FetchedManifest) -> ResolvedManifest:
    return ResolvedManifest(200, fetched.digest, fetched.media_type, len(fetched.body))


def _place(where: Where, request: UpstreamRequest) -> tuple[object, ...]:
    return (where.registry, where.host, request.repository)


def _reference(where: Where, request: UpstreamRequest) -> tuple[object, ...]:
    """A tag is another manifest for a client that takes other types; a digest is not."""
    accept = () if is_digest(request.reference) else tuple(sorted(request.accept))
    return (*_place(where, request), request.reference, accept)
