"""A manifest's blobs fetched before they are asked for. Off by default: a client may have most of them already."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from pullgate.faults import Fault
from pullgate.shares import namespace_holder
from pullgate.slots import FairSlots, LineFull
from pullgate_proxy.cache.blobs.ask import Ask
from pullgate_proxy.cache.blobs.cache import BlobCache
from pullgate_proxy.cache.blobs.flight import Lost

AT_ONCE: Final = 6
"""Half of it is the most for one app."""
WAITING: Final = 256
"""Blobs that wait to be fetched, of which one app has half; beyond it they are left to who asks for them."""
SECONDS: Final = 600.0
"""For one blob, so that an upstream that drips does not keep its place."""

log = logging.getLogger(__name__)


class Prefetcher:
    """Fetches a few blobs at a time, from all apps in turn. After a failure the client's own pull reports the fault."""

    def __init__(self, blobs: BlobCache) -> None:
        self._blobs = blobs
        self._slots = FairSlots("prefetch", AT_ONCE, waiting=WAITING)
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def add(self, asks: Iterable[Ask]) -> None:
        """Have these soon, as far as there is room for them."""
        for ask in asks:
            task = asyncio.create_task(self._work(ask), name=f"prefetch {ask.digest}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, ask: Ask) -> None:
        try:
            async with self._slots.hold(namespace_holder(ask.where.registry[0])), asyncio.timeout(SECONDS):
                await self._fetch(ask)
        except (Fault, Lost, LineFull, TimeoutError) as reason:
            log.debug("%s is not fetched ahead: %s", ask.digest, reason)
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
