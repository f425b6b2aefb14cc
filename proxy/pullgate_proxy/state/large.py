"""Documents that take long to read: one at a time, beside the event loop and beside the changes of everybody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from pullgate.store.port import Change, Key
from pullgate.store.rounds import Rounds


class LargeChanges:
    """Changes that wait to be read. The namespaces are served in turn, and only the last change of a document counts.

    So a tenant who writes a large document again and again delays large documents by one of its own, and small ones
    by none. After each it rests for as long as that took: all of them get half of the time at most.
    """

    def __init__(self, read: Callable[[Change], Awaitable[Callable[[], None]]]) -> None:
        """`read` prepares a change and returns the step that applies it; it raises nothing that is expected."""
        self._read = read
        self._waiting = Rounds[Change]()
        self._reading: Key | None = None
        """None also after `drop` of the one that is being read."""
        self._task: asyncio.Task[None] | None = None

    def put(self, change: Change) -> None:
        """Read it in its turn, in place of an earlier one of the same document. Raises what an earlier one raised."""
        self._waiting.put(change.key, change)
        if self._task is None or self._task.done():
            if self._task is not None:
                self._task.result()
            self._task = asyncio.create_task(self._work(), name="large documents")

    def drop(self, key: Key) -> None:
        """A later change of the document is there: forget what waits, and do not apply what is being read."""
        self._waiting.discard(key)
        if self._reading == key:
            self._reading = None

    async def settle(self) -> None:
        """Wait until none is left. Raises what reading one raised."""
        if self._task is not None:
            await self._task

    def stop(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()

    async def _work(self) -> None:
        while self._waiting:
            key, change = self._waiting.take()
            began, self._reading = time.monotonic(), key
            apply = await self._read(change)
            if self._reading == key:
                apply()
            self._reading = None
            if self._waiting:
                await asyncio.sleep(time.monotonic() - began)
