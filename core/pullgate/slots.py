"""A few slots that many share: who finds none waits, and the namespaces are served in turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Final

from pullgate.shares import CapOf, Holder, Holders, Kind, Shares

WAITING: Final = 1024


class LineFull(Exception):
    """Too many wait already, of all or of one namespace."""


class FairSlots:
    """Slots with the bound of `Shares`: a namespace never holds more than stay free for all others.

    The namespaces are served in turn, so that one with many who wait delays no other. To take a slot is O(1); to give
    one back costs a look at each namespace that holds its share, and at those of one that wait.
    """

    def __init__(self, cause: str, limit: int, *, waiting: int = WAITING, cap_of: CapOf | None = None) -> None:
        """`limit` slots; `waiting` is how many may wait for one, of which one namespace has its share, too."""
        self._slots = Shares(cause, limit, cap_of)
        self._line = Shares(cause, waiting)
        self._waiting: OrderedDict[str, OrderedDict[asyncio.Future[None], Holders]] = OrderedDict()
        """Namespace -> who waits; the namespace that is served next is first."""

    @property
    def used(self) -> int:
        """Slots that are taken."""
        return self._slots.used

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return self._line.used

    @contextlib.asynccontextmanager
    async def hold(self, *holders: Holder) -> AsyncIterator[None]:
        """A slot, taken in the name of all `holders` (the namespace is the first), for the time of the context.

        Raises LineFull.
        """
        await self._take(holders)
        try:
            yield
        finally:
            self._give(holders)

    async def _take(self, holders: Holders) -> None:
        namespace = holders[0].namespace
        if self._slots.fits(holders):  # those who wait may not have it, else it would be theirs
            self._slots.take(holders)
            return
        in_line = (Holder(Kind.NAMESPACE, namespace),)
        if not self._line.fits(in_line):
            raise LineFull
        served = asyncio.get_running_loop().create_future()
        self._line.take(in_line)
        self._waiting.setdefault(namespace, OrderedDict())[served] = holders
        try:
            await served
        except BaseException:
            if served.done() and not served.cancelled():
                self._give(holders)  # it was served and cancelled in one turn of the loop
            raise
        finally:
            self._line.give(in_line)
            self._leave(namespace, served)

    def _give(self, holders: Holders) -> None:
        self._slots.give(holders)
        self._serve()

    def _serve(self) -> None:
        """Give free slots to those who wait; a namespace that holds its share is passed over."""
        passed = 0
        while passed < len(self._waiting) and self._slots.fits(()):
            namespace, line = self._waiting.popitem(last=False)
            chosen = next((one for one, who in line.items() if not one.done() and self._slots.fits(who)), None)
            passed = passed + 1 if chosen is None else 0
            if chosen is not None:
                self._slots.take(line.pop(chosen))
                chosen.set_result(None)
            if line:
                self._waiting[namespace] = line

    def _leave(self, namespace: str, served: asyncio.Future[None]) -> None:
        line = self._waiting.get(namespace)
        if line is not None and line.pop(served, None) is not None and not line:
            del self._waiting[namespace]
