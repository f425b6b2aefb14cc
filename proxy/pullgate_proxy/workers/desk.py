"""The supervisor's side of the blob cache: who fetches what, for all workers. Each blob has one of them at a time."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import defaultdict
from typing import Final

from pullgate_proxy.cache.keeper import Keeper

Worker = int

JOIN_SECONDS: Final = 20.0
"""Seconds that a worker waits for another one's first byte; less than a call may take (`line.CALL_SECONDS`)."""


class Desk:
    """Workers ask here. A worker that ends leaves what it fetched to the others."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._leaders: dict[str, Worker] = {}
        self._claimed: dict[str, int] = {}
        """Digest -> size, once it is known."""
        self._waiting: defaultdict[str, list[asyncio.Future[int | None]]] = defaultdict(list)
        self._pins: defaultdict[Worker, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))

    def state(self) -> list[object]:
        """What workers have to know of the disk: whether to ask at all, and the problem."""
        return [self._keeper.usable, self._keeper.problem]

    def lead(self, worker: Worker, digest: str) -> bool:
        """Whether `worker` fetches the blob; else another does."""
        return self._leaders.setdefault(digest, worker) == worker

    async def join(self, digest: str) -> int | None:
        """The size of a blob that another worker fetches, once it is known; None where it will not come."""
        if digest in self._claimed or digest not in self._leaders:
            return self._claimed.get(digest)
        waiter: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._waiting[digest].append(waiter)
        try:
            async with asyncio.timeout(JOIN_SECONDS):
                return await waiter
        except TimeoutError:
            return None

    async def claim(self, worker: Worker, digest: str, size: int) -> bool:
        """See Keeper; the path is where BlobDir says."""
        if self._leaders.get(digest) != worker or await self._keeper.claim(digest, size) is None:
            return False
        self._claimed[digest] = size
        self._tell(digest, size)
        return True

    async def commit(self, worker: Worker, digest: str) -> bool:
        """See Keeper."""
        if self._leaders.get(digest) != worker or digest not in self._claimed:
            return False
        kept = await self._keeper.commit(digest)
        self._forget(digest)
        return kept

    async def abandon(self, worker: Worker, digest: str) -> None:
        """See Keeper. Also of a blob that was not claimed."""
        if self._leaders.get(digest) != worker:
            return
        if digest in self._claimed:
            await self._keeper.abandon(digest)
        self._forget(digest)

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
        for digest in [digest for digest, leader in self._leaders.items() if leader == worker]:
            await self.abandon(worker, digest)

    def _forget(self, digest: str) -> None:
        self._leaders.pop(digest, None)
        self._claimed.pop(digest, None)
        self._tell(digest, None)

    def _tell(self, digest: str, size: int | None) -> None:
        for waiter in self._waiting.pop(digest, ()):
            if not waiter.done():
                waiter.set_result(size)
