"""Work on input of others that takes long, done so that the event loop serves everybody else meanwhile.

`Turns` cuts a loop in Python into slices on the event loop. `aside` runs a call that has no place to stop (a parser, a
compiler of patterns) in a thread: there the interpreter changes threads every `SWITCH` seconds, and only a single call
in C holds its lock for longer. `oci.json_text` bounds the longest of these calls, `json.loads`.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import sys
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from pullgate.shares import Holders
from pullgate.slots import EVERYBODY, FairSlots

T = TypeVar("T")

FREE: Final = 0.002
"""Seconds of work that are done at once: most lists are short."""
SLICE: Final = 0.01
"""Seconds of work after that, before the event loop gets a turn and the next in line its slice."""
INLINE: Final = 64 * 1024
"""Bytes of input up to which a call is made at once: it takes a millisecond or two, and a thread costs 0.1 ms."""
DOCUMENT_INLINE: Final = 4 * 1024
"""The same for a document whose patterns are compiled: 6 µs a character. Most Licenses have a kilobyte."""
THREADS: Final = 2
"""More would only take the interpreter's lock from the event loop more often."""
SWITCH: Final = 0.0005
"""Seconds for which such a thread keeps the interpreter's lock while the event loop wants it.

The loop gives it up at each read, write and accept, and may wait so long for it each time. Python's own 5 ms would let
as few as 200 of these calls through in a second.
"""

_lines: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, FairSlots] = weakref.WeakKeyDictionary()


class Turns:
    """One piece of work in slices: `async with Turns(holders) as turns`, `await turns.give()` between two items.

    All work in slices stands in one line, so that many pieces hold the loop no longer than one does. The apps get
    slices in turn, so that one with hundreds of pieces delays another's by a slice. After each slice the line rests
    for as long as that took: all together get half of the loop's time at most. Do not wait for others inside.
    """

    def __init__(self, holders: Holders, clock: Callable[[], float] = time.perf_counter) -> None:
        """The work is done in the name of `holders`, an app and what is of it. `clock` in seconds."""
        self._holders, self._clock = holders, clock
        self._since = 0.0
        self._line = _lines.setdefault(asyncio.get_running_loop(), FairSlots("turns", 1, waiting=EVERYBODY))
        self._first = False
        """True if this piece is the first of the line now."""
        self.spent = 0.0
        """Seconds of work in the slices that have ended."""

    async def __aenter__(self) -> Self:
        self._since = self._clock()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.spent += self._clock() - self._since
        self._leave()

    async def give(self) -> None:
        """Let the loop and the others in line run, if a slice is used up."""
        took = self._clock() - self._since
        if took < (SLICE if self._first else FREE):
            return
        self.spent += took
        await asyncio.sleep(took)
        self._leave()
        await self._line.take(self._holders)
        self._first = True
        self._since = self._clock()

    def _leave(self) -> None:
        if self._first:
            self._first = False
            self._line.give(self._holders)


class Pauses:
    """For a loop that also waits for others, such as one over a watch: the event loop runs once after each slice."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock` in seconds."""
        self._clock = clock
        self._since = clock()

    async def give(self) -> None:
        """Let the loop run, if a slice is used up."""
        if self._clock() - self._since >= SLICE:
            await asyncio.sleep(0)
            self._since = self._clock()


async def aside(size: int, work: Callable[[], T], *, inline: int = INLINE) -> T:
    """The result of `work`, whose input has `size` bytes: in a thread if that is more than `inline`.

    `work` must change nothing that the event loop uses. Raises what it raises.
    """
    return work() if size <= inline else await in_thread(work)


async def in_thread(work: Callable[[], T]) -> T:
    """As `aside`, whatever the size."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), work)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    sys.setswitchinterval(min(SWITCH, sys.getswitchinterval()))
    return ThreadPoolExecutor(THREADS, thread_name_prefix="aside")


def weigh(document: Any, limit: int = DOCUMENT_INLINE) -> int:
    """About how many bytes `document` (as a JSON parser makes it) has; the count stops above `limit`."""
    size, left = 0, [document]
    while left and size <= limit:
        value = left.pop()
        size += len(value) if isinstance(value, str) else 8
        if isinstance(value, Mapping):
            left.extend(itertools.islice(value.values(), limit))
            size += sum(map(len, itertools.islice(value, limit)))
        elif isinstance(value, list | tuple):
            left.extend(itertools.islice(value, limit))
    return size
