"""Proven grants: under this tag rule, this digest of this repository may be pulled. Pure, bounded, O(1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from pullgate.policy.facts import RegistryFacts
from pullgate.shares import registry_holders

LIFETIME = 3600.0
"""Seconds a proof holds: long enough to finish any pull of an image whose tag has moved meanwhile."""


class Scope:
    """The scope of a grant: a repository of a Registry, under a tag rule. Equal rules of two licenses share grants."""

    __slots__ = ("_hasher", "holders", "key", "place")

    def __init__(self, registry: RegistryFacts, repository: str, rule: bytes) -> None:
        place = b"".join(
            part.encode() + b"\0" for part in (registry.namespace, registry.name, registry.host, repository)
        )
        self._hasher = hashlib.blake2b(rule + place, digest_size=16)
        self.key = self._hasher.digest()
        self.place = hashlib.blake2b(place, digest_size=16).digest()
        """The repository of the Registry, whatever the rule."""
        self.holders = registry_holders(registry.namespace, registry.name)
        """In whose name work for it is done."""

    def entry(self, digest: str) -> bytes:
        """The 16 bytes under which the grant of `digest` is kept."""
        hasher = self._hasher.copy()
        hasher.update(digest.encode())
        return hasher.digest()


class Grants:
    """The proven digests. At most `limit`; the one that was proven longest ago goes first."""

    def __init__(self, limit: int, lifetime: float = LIFETIME) -> None:
        self._limit = limit
        self._lifetime = lifetime
        self._until: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def holds(self, scope: Scope, digest: str, now: float) -> bool:
        """True if `digest` is proven at `now` (monotonic seconds)."""
        return self.left(scope.entry(digest), now) > 0

    def left(self, entry: bytes, now: float) -> float:
        """Seconds for which the grant `entry` still holds; 0 without one."""
        return max(0.0, self._until.get(entry, 0.0) - now)

    def add(self, scope: Scope, digests: tuple[str, ...], now: float) -> None:
        """Note a proof of `digests`, and drop the oldest ones beyond the limit."""
        self.take((scope.entry(digest) for digest in digests), self._lifetime, now)

    def take(self, entries: Iterable[bytes], seconds: float, now: float) -> None:
        """Note grants that another replica proved, for the `seconds` that they hold there."""
        for entry in entries:
            until = max(self._until.pop(entry, 0.0), now + min(seconds, self._lifetime))
            self._until[entry] = until
        while len(self._until) > self._limit:
            del self._until[next(iter(self._until))]


class Children:
    """Manifest of a place -> the digests that it names. Immutable facts, so only bounded, never stale.

    By place: an upstream that repeats the digest of another's manifest, but lacks the manifest, learns nothing.
    """

    def __init__(self, limit: int = 200_000) -> None:
        self._limit = limit
        """Digests in all entries together, about 100 bytes each."""
        self._size = 0
        self._named: dict[tuple[bytes, str], tuple[tuple[str, ...], tuple[str, ...]]] = {}

    def get(self, scope: Scope, digest: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """(manifests, blobs) that `digest` names, if the upstream of `scope` has delivered it."""
        return self._named.get((scope.place, digest))

    def put(self, scope: Scope, digest: str, manifests: tuple[str, ...], blobs: tuple[str, ...]) -> None:
        """Note what a verified manifest names that the upstream of `scope` has delivered."""
        key = (scope.place, digest)
        if key in self._named:
            return
        self._named[key] = (manifests, blobs)
        self._size += 1 + len(manifests) + len(blobs)
        while self._size > self._limit and self._named:
            oldest = self._named.pop(next(iter(self._named)))
            self._size -= 1 + len(oldest[0]) + len(oldest[1])
