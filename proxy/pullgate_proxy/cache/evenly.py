"""Entries in memory for many apps: if there is no room, the app that has most gives up its oldest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Evenly(Generic[K, V]):
    """Entries by app, each with what it costs. An app that floods it pushes out its own entries, and nobody else's."""

    def __init__(self, limit: int) -> None:
        """`limit` of all costs together."""
        self._limit = limit
        self._apps: dict[str, OrderedDict[K, tuple[V, int]]] = {}
        self._sizes: dict[str, int] = {}
        self.size = 0
        """All costs together."""

    def peek(self, app: str, key: K) -> V | None:
        """The entry, whose age stays as it is."""
        entries = self._apps.get(app)
        found = entries.get(key) if entries is not None else None
        return found[0] if found is not None else None

    def get(self, app: str, key: K) -> V | None:
        """The entry, which is the youngest of its app now."""
        found = self.peek(app, key)
        if found is not None:
            self._apps[app].move_to_end(key)
        return found

    def keys(self) -> Iterator[K]:
        """All keys, app by app, the oldest of each first."""
        for entries in self._apps.values():
            yield from entries

    def put(self, app: str, key: K, value: V, cost: int = 1) -> list[K]:
        """Keep `value`, in place of any earlier one of `key`. Returns the keys that were evicted for it."""
        entries = self._apps.setdefault(app, OrderedDict())
        before = entries.pop(key, None)
        entries[key] = value, cost
        self._grow(app, cost - (before[1] if before is not None else 0))
        gone = []
        while self.size > self._limit:
            gone.append(self._drop_one(max(self._sizes, key=self._sizes.__getitem__)))
        return gone

    def remove(self, app: str, key: K) -> None:
        """Forget the entry, if there is one."""
        entries = self._apps.get(app)
        found = entries.pop(key, None) if entries is not None else None
        if found is None:
            return
        self._grow(app, -found[1])
        if not entries:
            del self._apps[app], self._sizes[app]

    def _drop_one(self, app: str) -> K:
        entries = self._apps[app]
        key, (_, cost) = entries.popitem(last=False)
        self._grow(app, -cost)
        if not entries:
            del self._apps[app], self._sizes[app]
        return key

    def _grow(self, app: str, cost: int) -> None:
        self._sizes[app] = self._sizes.get(app, 0) + cost
        self.size += cost
