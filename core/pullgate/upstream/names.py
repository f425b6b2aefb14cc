"""Host names looked up by the system, in a few threads that all upstreams of a process share.

`getaddrinfo` cannot be cancelled: a name whose server never answers keeps its thread for as long as the system tries.
So the threads are slots with shares, by Registry and namespace, and a second look-up never waits behind such a name.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from pullgate.shares import Holders
from pullgate.slots import FairSlots, LineFull

THREADS: Final = 16
SECONDS: Final = 10.0
"""For one look-up, the wait for a thread included. The system's own bound is 5 s for each try and name server."""

Found = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]]
"""As `socket.getaddrinfo` returns it."""
Find = Callable[..., Found]


@dataclass(frozen=True, slots=True)
class _LookUp:
    task: asyncio.Task[Found]
    ends_at: float


class Names:
    """The look-ups of one event loop. Equal ones of one namespace share a thread."""

    def __init__(self, find: Find = socket.getaddrinfo, *, threads: int = THREADS, seconds: float = SECONDS) -> None:
        """`find` is called in a thread as `socket.getaddrinfo` is; `seconds` bounds one look-up."""
        self._find, self._seconds = find, seconds
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="resolve")
        self._slots = FairSlots("threads", threads)
        self._running: dict[tuple[str, str, int], _LookUp] = {}

    @property
    def stuck(self) -> int:
        """Threads that are taken."""
        return self._slots.used

    async def find(self, host: str, family: int, holders: Holders) -> Found:
        """The addresses of `host`, looked up in the name of `holders` (a Registry and its namespace).

        Raises socket.gaierror: EAI_AGAIN where no answer came in time, at once if such a look-up still has its thread.
        """
        key = (holders[0].namespace, host, family)
        loop = asyncio.get_running_loop()
        look_up = self._running.get(key)
        if look_up is None:
            task = loop.create_task(self._look_up(key, holders), name=f"resolve {host}")
            task.add_done_callback(_see)
            look_up = self._running[key] = _LookUp(task, loop.time() + self._seconds)
        try:
            async with asyncio.timeout_at(look_up.ends_at):
                return await asyncio.shield(look_up.task)
        except (TimeoutError, LineFull):
            raise socket.gaierror(socket.EAI_AGAIN, "no answer in time") from None

    async def _look_up(self, key: tuple[str, str, int], holders: Holders) -> Found:
        _, host, family = key
        try:
            async with contextlib.AsyncExitStack() as stack:
                async with asyncio.timeout(self._seconds):
                    await stack.enter_async_context(self._slots.hold(*holders))
                call = functools.partial(self._find, host, None, family=family, type=socket.SOCK_STREAM)
                return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        finally:
            del self._running[key]


def _see(task: asyncio.Task[Found]) -> None:
    """Retrieve the exception: nobody may be left to wait for it."""
    if not task.cancelled():
        task.exception()


_OF_LOOP: WeakKeyDictionary[asyncio.AbstractEventLoop, Names] = WeakKeyDictionary()


def shared_names() -> Names:
    """The look-ups that all upstreams of the running loop share."""
    loop = asyncio.get_running_loop()
    found = _OF_LOOP.get(loop)
    if found is None:
        found = _OF_LOOP[loop] = Names()
    return found
