"""Work on input of others that takes long, so that the event loop serves everybody else meanwhile.

`Turns` cuts a loop in Python into slices on the event loop. `aside` runs a call that has no place to stop (a parser, a
compiler of patterns) in a thread: there the interpreter changes threads every 5 ms, and only a single call in C holds
its lock for longer. `oci.json_text` bounds the longest of these calls, `json.loads`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

SLICE: Final = 0.01
"""Seconds of work before the event loop gets a turn."""
INLINE: Final = 64 * 1024
"""Bytes of input up to which a call is made at once: it takes a millisecond or two, and a thread costs 0.1 ms."""


class Turns:
    """Gives the event loop a turn after each slice of one piece of work."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock` in seconds."""
        self._clock = clock
        self._since = clock()

    async def give(self) -> None:
        """Let the loop run once if SLICE has passed since it last did. Call it between two items."""
        if self._clock() - self._since >= SLICE:
            await asyncio.sleep(0)
            self._since = self._clock()


async def aside(size: int, work: Callable[[], T]) -> T:
    """The result of `work`, whose input has `size` bytes: in a thread if that is more than INLINE.

    `work` must change nothing that the event loop uses. Raises what it raises.
    """
    return work() if size <= INLINE else await asyncio.to_thread(work)
