"""The order of eviction: S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need", SOSP 2023). Pure.

A new entry waits in a small queue; it moves to the main queue only if it is asked for again. So a blob that one client
pulls once evicts no base layer that all clients share. A hit increments a number, and moves nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

SMALL_SHARE: Final = 0.1
"""Share of all bytes above which the queue of new entries is the one to evict from."""
TO_MAIN: Final = 2
"""Hits after which an entry of the small queue is kept."""
MOST_HITS: Final = 3
GHOSTS: Final = 1024
"""At least so many names of entries that went are remembered."""


@dataclass(slots=True)
class _Entry:
    size: int
    hits: int = 0


class S3Fifo:
    """Names with their sizes in bytes. Every operation is O(1), `evict` amortized."""

    def __init__(self) -> None:
        self._small: OrderedDict[str, _Entry] = OrderedDict()
        self._main: OrderedDict[str, _Entry] = OrderedDict()
        self._ghosts: OrderedDict[str, None] = OrderedDict()
        self._small_size = 0
        self.size = 0
        """Bytes of all entries."""

    def __len__(self) -> int:
        return len(self._small) + len(self._main)

    def __contains__(self, name: object) -> bool:
        return name in self._small or name in self._main

    def add(self, name: str, size: int, *, known: bool = False) -> None:
        """A new entry; `known`: one that was kept before (found on disk), and need not prove itself."""
        self.remove(name)
        if known or name in self._ghosts:
            self._ghosts.pop(name, None)
            self._main[name] = _Entry(size)
        else:
            self._small[name] = _Entry(size)
            self._small_size += size
        self.size += size

    def hit(self, name: str) -> None:
        """`name` was asked for; nothing if it is not kept."""
        entry = self._small.get(name) or self._main.get(name)
        if entry is not None:
            entry.hits = min(MOST_HITS, entry.hits + 1)

    def remove(self, name: str) -> int:
        """Forget `name`; its size, 0 if it is not kept."""
        entry = self._small.pop(name, None)
        if entry is not None:
            self._small_size -= entry.size
        else:
            entry = self._main.pop(name, None)
        if entry is None:
            return 0
        self.size -= entry.size
        return entry.size

    def evict(self, is_pinned: Callable[[str], bool]) -> str | None:
        """Take out who goes next; None if all that is kept is pinned."""
        # Each entry is looked at most once for each of its hits, and once more.
        for _ in range(len(self) * (MOST_HITS + 2)):
            from_small = self._small and (not self._main or self._small_size > SMALL_SHARE * self.size)
            name = self._from_small(is_pinned) if from_small else self._from_main(is_pinned)
            if name is not None:
                return name
        # All of the main queue is pinned: the small one gives way below its share, too.
        while self._small:
            name = self._from_small(is_pinned)
            if name is not None:
                return name
        return None

    def _from_small(self, is_pinned: Callable[[str], bool]) -> str | None:
        name, entry = self._small.popitem(last=False)
        self._small_size -= entry.size
        if entry.hits >= TO_MAIN or is_pinned(name):
            entry.hits = 0
            self._main[name] = entry
            return None
        self.size -= entry.size
        self._ghosts[name] = None
        while len(self._ghosts) > max(GHOSTS, len(self._main)):
            self._ghosts.popitem(last=False)
        return name

    def _from_main(self, is_pinned: Callable[[str], bool]) -> str | None:
        name, entry = self._main.popitem(last=False)
        if entry.hits or is_pinned(name):
            entry.hits = max(0, entry.hits - 1)
            self._main[name] = entry
            return None
        self.size -= entry.size
        return name
