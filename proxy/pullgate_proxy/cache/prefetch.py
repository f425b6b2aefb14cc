"""A manifest's blobs fetched before they are asked for. Off by default: a client may have most of them already."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import Final

from pullgate.faults import Fault
from pullgate_proxy.cache.ask import Ask
from pullgate_proxy.cache.blobs import BlobCache
from pullgate_proxy.cache.flight import Lost

AT_ONCE: Final = 3
WAITING: Final = 256
"""Blobs that wait to be fetched; beyond it they are left to who asks for them."""

log = logging.getLogger(__name__)


class Prefetcher:
    """Fetches a few blobs at a time. What fails is met again, and told, by who pulls."""

    def __init__(self, blobs: BlobCache) -> None:
        self._blobs = blobs
        self._queue: asyncio.Queue[Ask] = asyncio.Queue(WAITING)
        self._workers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to work."""
        self._workers = [asyncio.create_task(self._work(), name=f"prefetch {n}") for n in range(AT_ONCE)]

    async def close(self) -> None:
        """End it."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def add(self, asks: Iterable[Ask]) -> None:
        """Have these soon, as far as there is room for them."""
        with contextlib.suppress(asyncio.QueueFull):
            for ask in asks:
                self._queue.put_nowait(ask)

    async def _work(self) -> None:
        while True:
            ask = await self._queue.get()
            try:
                await self._fetch(ask)
            except (Fault, Lost) as fault:
                log.debug("%s is not fetched ahead: %s", ask.digest, fault)
            except Exception:
                log.exception("%s is not fetched ahead", ask.digest)

    async def _fetch(self, ask: Ask) -> None:
        held = await self._blobs.open(ask)
        if held is None:
            return
        try:
            if held.flight is not None:
                await held.flight.wait_beyond(held.size - 1)
        finally:
            await held.aclose()
