"""Documents that take long to read: one at a time, beside the event loop and beside the changes of everybody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pullgate.store.port import Change, Key
from pullgate.store.rounds import Rounds

REST = 20
"""A document that was read is read again after this many times the time that reading it took."""
LONGEST_REST = 30.0
"""Seconds. A License whose key leaked waits no longer for its own rest, however large it is."""


@dataclass(slots=True)
class _Rest:
    """A document that is being read, or was read a short time ago."""

    timer: asyncio.TimerHandle | None = None
    """The end of the rest; None while the document is being read."""
    change: Change | None = None
    """The last change that came meanwhile."""


class LargeChanges:
    """Changes that wait to be read. The namespaces are served in turn, and only the last change of a document counts.

    So a tenant who writes a large document again and again delays large documents by one of its own, and small ones
    by none. The reader pauses after each for as long as that took: all of them get half of the time at most. And a
    document that was read rests, so that one which is written again and again gets a twentieth. The first reading of a
    document waits for no rest: a start is as fast as before.
    """

    def __init__(self, read: Callable[[Change], Awaitable[Callable[[], None]]]) -> None:
        """`read` prepares a change and returns the step that applies it; it raises nothing that is expected."""
        self._read = read
        self._waiting = Rounds[Change]()
        self._resting: dict[Key, _Rest] = {}
        """Few at once: each costs its reading, and LONGEST_REST ends it."""
        self._reading: Key | None = None
        """None also after `drop` of the one that is being read."""
        self._task: asyncio.Task[None] | None = None

    def put(self, change: Change) -> None:
        """Read it in its turn, in place of an earlier one of the same document. Raises what an earlier one raised."""
        if self._task is not None and self._task.done():
            self._task.result()
        if change.key in self._resting:
            self._resting[change.key].change = change
        else:
            self._queue(change)

    def drop(self, key: Key) -> None:
        """A later change of the document is there: forget what waits, and do not apply what is being read."""
        self._waiting.discard(key)
        if key in self._resting:
            self._resting[key].change = None
        if self._reading == key:
            self._reading = None

    async def settle(self) -> None:
        """Wait until all are read but those that rest. Raises what reading one raised."""
        if self._task is not None:
            await self._task

    def stop(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()
        for rest in self._resting.values():
            if rest.timer is not None:
                rest.timer.cancel()

    def _queue(self, change: Change) -> None:
        self._waiting.put(change.key, change)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="large documents")

    async def _work(self) -> None:
        while self._waiting:
            key, change = self._waiting.take()
            began, self._reading = time.monotonic(), key
            rest = self._resting[key] = _Rest()
            apply = await self._read(change)
            if self._reading == key:
                apply()
            self._reading = None
            took = time.monotonic() - began
            delay = min(took * REST, LONGEST_REST)
            rest.timer = asyncio.get_running_loop().call_later(delay, self._end_rest, key)
            if self._waiting:
                await asyncio.sleep(took)

    def _end_rest(self, key: Key) -> None:
        change = self._resting.pop(key).change
        if change is not None:
            self._queue(change)
