"""The supervisor's side of the blob cache: who fetches what, for all workers. A blob of a place has one of them."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import defaultdict
from typing import Final

from pullgate_proxy.cache.ask import Place
from pullgate_proxy.cache.keeper import Keeper

Worker = int

JOIN_SECONDS: Final = 20.0
"""Seconds that a worker waits for another one's first byte; less than a call may take (`line.CALL_SECONDS`)."""


class Desk:
    """Workers ask here. A worker that ends leaves what it fetched to the others."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._leaders: dict[Place, Worker] = {}
        self._claimed: dict[Place, int] = {}
        """Place -> size of the blob, once it is known."""
        self._waiting: defaultdict[Place, list[asyncio.Future[int | None]]] = defaultdict(list)
        self._pins: defaultdict[Worker, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))

    def state(self) -> list[object]:
        """The state of the disk for the workers: True if it is usable, and the problem."""
        return [self._keeper.usable, self._keeper.problem]

    def lead(self, worker: Worker, place: Place) -> bool:
        """True if `worker` fetches the blob; False if another worker does."""
        return self._leaders.setdefault(place, worker) == worker

    async def join(self, place: Place) -> int | None:
        """The size of a blob that another worker fetches, once it is known; None if it will not come."""
        if place in self._claimed or place not in self._leaders:
            return self._claimed.get(place)
        waiter: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._waiting[place].append(waiter)
        try:
            async with asyncio.timeout(JOIN_SECONDS):
                return await waiter
        except TimeoutError:
            return None

    async def claim(self, worker: Worker, place: Place, size: int) -> bool:
        """See Keeper; the path is where BlobDir says."""
        if self._leaders.get(place) != worker or await self._keeper.claim(place, size) is None:
            return False
        self._claimed[place] = size
        self._tell(place, size)
        return True

    async def commit(self, worker: Worker, place: Place) -> bool:
        """See Keeper."""
        if self._leaders.get(place) != worker or place not in self._claimed:
            return False
        kept = await self._keeper.commit(place)
        self._forget(place)
        return kept

    async def abandon(self, worker: Worker, place: Place) -> None:
        """See Keeper. Also of a blob that was not claimed."""
        if self._leaders.get(place) != worker:
            return
        if place in self._claimed:
            await self._keeper.abandon(place)
        self._forget(place)

    def pin(self, worker: Worker, digest: str) -> None:
        """See Keeper."""
        self._pins[worker][digest] += 1
        self._keeper.pin(digest)

    def unpin(self, worker: Worker, digest: str) -> None:
        """See Keeper."""
        if self._pins[worker][digest] > 0:
            self._pins[worker][digest] -= 1
            self._keeper.unpin(digest)

    def failed(self, number: int | None, words: str) -> None:
        """See Keeper."""
        self._keeper.failed(OSError(number or errno.EIO, words or os.strerror(number or errno.EIO)))

    async def gone(self, worker: Worker) -> None:
        """The worker ended, however."""
        for digest, count in self._pins.pop(worker, {}).items():
            for _ in range(count):
                self._keeper.unpin(digest)
        for place in [place for place, leader in self._leaders.items() if leader == worker]:
            await self.abandon(worker, place)

    def _forget(self, place: Place) -> None:
        self._leaders.pop(place, None)
        self._claimed.pop(place, None)
        self._tell(place, None)

    def _tell(self, place: Place, size: int | None) -> None:
        for waiter in self._waiting.pop(place, ()):
            if not waiter.done():
                waiter.set_result(size)
