"""Hashes large bodies beside the event loop: SHA-256 of a GiB costs as much as relaying half of one.

One thread for the process takes chunks from a queue; hashlib lets go of the interpreter's lock while it works. A future
per chunk (`run_in_executor`) would eat up most of the gain. Bodies that are also written to a file have threads
of their own: a slow disk must not hold up the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import itertools
import os
import queue
import threading
from collections.abc import Callable
from typing import Final

from pullgate.oci.digest import Hasher, hasher

_INLINE = 32 * 1024
"""Bytes of a chunk that is hashed at once: waking a thread would cost more."""
_BEHIND = 16
"""Chunks of all bodies together that wait to be hashed; above that their readers wait too."""
WRITERS: Final = 4
"""Threads for bodies that are written to a file."""

_lanes = itertools.count()


class FileSink:
    """The file to which the thread writes a body before it hashes it."""

    def __init__(self, descriptor: int, on_progress: Callable[[], None]) -> None:
        """`descriptor` of an empty file. `on_progress` is called in the loop when the thread has caught up."""
        self.descriptor = descriptor
        self.on_progress = on_progress
        self.written = 0
        """Bytes from the file's beginning. Written by the thread alone, as the next one."""
        self.error: OSError | None = None
        """Why no more is written; the hash stands where `written` does."""
        self.lane = 1 + next(_lanes) % WRITERS

    def close(self) -> None:
        """Nothing more is written. The thread closes the descriptor, behind what it still has to do with it."""
        self.error = self.error or OSError(errno.ECANCELED, "nobody wants it any more")
        _jobs(self.lane).put(functools.partial(os.close, self.descriptor))

    def write(self, chunk: bytes | memoryview) -> None:
        """The thread's part. Raises OSError."""
        left = memoryview(chunk)
        while left:
            count = os.pwrite(self.descriptor, left, self.written)
            self.written += count
            left = left[count:]


class BodyHash:
    """The digest of a body that comes in chunk by chunk. One task at a time may use it."""

    def __init__(self, digest: str, sink: FileSink | None = None, begun: Hasher | None = None) -> None:
        """`begun` is a hash that took in what came before."""
        self._expected = digest.partition(":")[2]
        self._hash: Hasher = begun if begun is not None else hasher(digest)
        self._sink = sink
        self._loop = asyncio.get_running_loop() if sink is not None else None
        self._jobs = _jobs(sink.lane if sink is not None else 0)
        self.fed = 0
        """Bytes that were handed to the thread, for ever."""
        self.done = 0
        """Bytes of these that it has hashed: they are not looked at again. Written by the thread alone."""

    async def update(self, chunk: bytes | memoryview) -> None:
        """Take `chunk` in. Waits only where the thread is far behind. Raises OSError if it cannot be written.

        `chunk` must stay as it is until `done` reaches what `fed` is afterwards.
        """
        if self._sink is None and len(chunk) <= _INLINE and self.fed == self.done:
            self._hash.update(chunk)
            return
        if self._sink is not None and self._sink.error is not None:
            raise self._sink.error
        self.fed += len(chunk)
        self._jobs.put((self, chunk))
        if self._jobs.qsize() > _BEHIND:
            await self.settle()

    async def matches(self) -> bool:
        """True if the bytes so far match the digest. Raises OSError if they could not be written."""
        if self.fed != self.done:
            await self.settle()
        if self._sink is not None and self._sink.error is not None:
            raise self._sink.error
        return self._hash.hexdigest() == self._expected

    def take_now(self, chunk: bytes | memoryview, is_last: Callable[[], bool]) -> None:
        """The thread's part; `is_last` tells whether nothing waits behind it."""
        sink = self._sink
        if sink is None:
            self._hash.update(chunk)
        elif sink.error is None:
            try:
                sink.write(chunk)
                self._hash.update(chunk)
            except OSError as error:
                sink.error = error
        self.done += len(chunk)
        if sink is not None and self._loop is not None and is_last():
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(sink.on_progress)

    async def settle(self) -> None:
        """Wait until the thread has hashed all that it was handed: the queue keeps its order."""
        loop = asyncio.get_running_loop()
        reached = loop.create_future()
        self._jobs.put(functools.partial(_tell, loop, reached))
        await reached


_Job = tuple[BodyHash, bytes | memoryview] | functools.partial[None]


@functools.cache
def _jobs(lane: int) -> queue.SimpleQueue[_Job]:
    jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
    threading.Thread(target=_work, args=(jobs,), name=f"hash-{lane}", daemon=True).start()
    return jobs


def _work(jobs: queue.SimpleQueue[_Job]) -> None:
    while True:
        job = jobs.get()
        if isinstance(job, tuple):
            job[0].take_now(job[1], jobs.empty)
        else:
            job()
        del job  # while it waits for the next, it holds no chunk


def _tell(loop: asyncio.AbstractEventLoop, reached: asyncio.Future[None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(_resolve, reached)


def _resolve(reached: asyncio.Future[None]) -> None:
    if not reached.done():
        reached.set_result(None)
