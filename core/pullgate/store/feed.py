"""Changes from one writer to several watchers; a slow one holds one entry a document."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

from pullgate.store.port import Change, Document, Key, Synced


class Feeds:
    """The open watches of a store. Used from one event loop."""

    def __init__(self) -> None:
        self._feeds: set[_Feed] = set()

    def publish(self, key: Key, document: Document | None) -> None:
        """Tell every watcher of the key's kind."""
        for feed in self._feeds:
            if key.kind in feed.kinds:
                feed.put(Change(key, document))

    async def watch(
        self, kinds: frozenset[str], present: Callable[[], Iterable[tuple[Key, Document]]]
    ) -> AsyncIterator[Change | Synced]:
        """The present documents, `Synced`, then changes. See `Store.watch`."""
        feed = _Feed(kinds)
        self._feeds.add(feed)
        try:
            for key, document in list(present()):
                yield Change(key, document)
            yield Synced()
            while True:
                for change in await feed.take():
                    yield change
        finally:
            self._feeds.discard(feed)


class _Feed:
    def __init__(self, kinds: frozenset[str]) -> None:
        self.kinds = kinds
        self._pending: dict[Key, Change] = {}
        self._filled = asyncio.Event()

    def put(self, change: Change) -> None:
        self._pending[change.key] = change
        self._filled.set()

    async def take(self) -> list[Change]:
        await self._filled.wait()
        self._filled.clear()
        taken, self._pending = list(self._pending.values()), {}
        return taken
