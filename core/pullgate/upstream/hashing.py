"""Hashes large bodies beside the event loop: SHA-256 of a GiB costs as much as relaying half of one.

One thread for the process takes chunks from a queue; hashlib lets go of the interpreter's lock while it works. A future
per chunk (`run_in_executor`) would eat up most of what this gains.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import threading

from pullgate.oci.digest import Hasher, hasher

_INLINE = 32 * 1024
"""Bytes of a chunk that is hashed at once: waking a thread would cost more."""
_BEHIND = 16
"""Chunks of all bodies together that wait to be hashed; above that their readers wait too."""


class BodyHash:
    """The digest of a body that comes in chunk by chunk. One task at a time may use it."""

    def __init__(self, digest: str) -> None:
        self._expected = digest.partition(":")[2]
        self._hash: Hasher = hasher(digest)
        self.fed = 0
        """Bytes that were handed to the thread, for ever."""
        self.done = 0
        """Bytes of these that it has hashed: they are not looked at again. Written by the thread alone."""

    async def update(self, chunk: bytes | memoryview) -> None:
        """Take `chunk` in. Waits only where the thread is far behind.

        `chunk` must stay as it is until `done` reaches what `fed` is afterwards.
        """
        if len(chunk) <= _INLINE and self.fed == self.done:
            self._hash.update(chunk)
            return
        self.fed += len(chunk)
        jobs = _jobs()
        jobs.put((self, chunk))
        if jobs.qsize() > _BEHIND:
            await self.settle()

    async def matches(self) -> bool:
        """Whether all that came in is what the digest names."""
        if self.fed != self.done:
            await self.settle()
        return self._hash.hexdigest() == self._expected

    def hash_now(self, chunk: bytes | memoryview) -> None:
        """The thread's part."""
        self._hash.update(chunk)
        self.done += len(chunk)

    async def settle(self) -> None:
        """Wait until the thread has hashed all that it was handed: the queue keeps its order."""
        loop = asyncio.get_running_loop()
        reached = loop.create_future()
        _jobs().put(functools.partial(_tell, loop, reached))
        await reached


_Job = tuple[BodyHash, bytes | memoryview] | functools.partial[None]


@functools.cache
def _jobs() -> queue.SimpleQueue[_Job]:
    jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
    threading.Thread(target=_work, args=(jobs,), name="hash", daemon=True).start()
    return jobs


def _work(jobs: queue.SimpleQueue[_Job]) -> None:
    while True:
        job = jobs.get()
        if isinstance(job, tuple):
            job[0].hash_now(job[1])
        else:
            job()
        del job  # while it waits for the next, it holds no chunk


def _tell(loop: asyncio.AbstractEventLoop, reached: asyncio.Future[None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(_resolve, reached)


def _resolve(reached: asyncio.Future[None]) -> None:
    if not reached.done():
        reached.set_result(None)
