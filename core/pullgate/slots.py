"""A few slots that many share: who finds none waits, and the namespaces are served in turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Final

from pullgate.shares import CapOf, Holder, Holders, Kind, Shares

WAITING: Final = 1024
EVERYBODY: Final = 1 << 20
"""Places in a line for requests: more than there can be, for those are bounded where they come in."""


_Line = OrderedDict[asyncio.Future[None], None]


class LineFull(Exception):
    """Too many wait already, of all or of one namespace."""


class FairSlots:
    """Slots with the bound of `Shares`: a namespace never holds more than stay free for all others.

    The namespaces are served in turn, and within one its Licenses and Registries, so that many who wait in one name
    delay nobody else. To take a slot is O(1); to give one back costs a look at each name that holds its share.
    """

    def __init__(self, cause: str, limit: int, *, waiting: int = WAITING, cap_of: CapOf | None = None) -> None:
        """`limit` slots; `waiting` is how many may wait for one, of which one namespace has its share, too."""
        self.pool = Shares(cause, limit, cap_of)
        """The slots; who takes one from here does not wait."""
        self._line = Shares(cause, waiting)
        self._waiting: OrderedDict[str, OrderedDict[Holders, _Line]] = OrderedDict()
        """Namespace -> in whose name -> who waits; at each level the one that is served next is first."""

    @property
    def used(self) -> int:
        """Slots that are taken."""
        return self.pool.used

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return self._line.used

    @contextlib.asynccontextmanager
    async def hold(self, *holders: Holder) -> AsyncIterator[None]:
        """A slot, taken in the name of all `holders` (the namespace is the first), for the time of the context.

        Raises LineFull.
        """
        await self.take(holders)
        try:
            yield
        finally:
            self.give(holders)

    async def take(self, holders: Holders) -> None:
        """Wait for a slot, for which `give` must follow. Raises LineFull."""
        namespace = holders[0].namespace
        if self.pool.fits(holders):  # a waiter that may use a free slot already received it
            self.pool.take(holders)
            return
        in_line = (Holder(Kind.NAMESPACE, namespace),)
        if not self._line.fits(in_line):
            raise LineFull
        served = asyncio.get_running_loop().create_future()
        self._line.take(in_line)
        self._waiting.setdefault(namespace, OrderedDict()).setdefault(holders, OrderedDict())[served] = None
        try:
            await served
        except BaseException:
            if served.done() and not served.cancelled():
                self.give(holders)  # it was served and cancelled in one turn of the loop
            raise
        finally:
            self._line.give(in_line)
            self._leave(holders, served)

    async def take_within(self, holders: Holders, seconds: float) -> None:
        """As `take`, for `seconds` at most. Raises ShareReached, Overloaded if there was no slot in that time."""
        try:
            async with asyncio.timeout(seconds):
                await self.take(holders)
        except (TimeoutError, LineFull):
            self.pool.take(holders)  # raises what is the matter

    def give(self, holders: Holders) -> None:
        """`holders` have one slot less; it goes to who waits."""
        self.pool.give(holders)
        self._serve()

    def _serve(self) -> None:
        """Give free slots to those who wait; a namespace that holds its share is passed over."""
        passed = 0
        while passed < len(self._waiting) and self.pool.fits(()):
            namespace = next(iter(self._waiting))
            holders = self._choose(self._waiting[namespace])
            self._waiting.move_to_end(namespace)
            passed += 1
            if holders is not None:
                passed = 0
                served = next(iter(self._waiting[namespace][holders]))
                self._leave(holders, served)
                if not served.done():  # else it was cancelled just now
                    self.pool.take(holders)
                    served.set_result(None)

    def _choose(self, lines: OrderedDict[Holders, _Line]) -> Holders | None:
        """In whose name of one namespace a slot is given; None if no more may be."""
        app = next(iter(lines))[:1]
        chosen = next((one for one in lines if self.pool.fits(one)), None) if self.pool.fits(app) else None
        if chosen is not None:
            lines.move_to_end(chosen)
        return chosen

    def _leave(self, holders: Holders, served: asyncio.Future[None]) -> None:
        namespace = holders[0].namespace
        lines = self._waiting.get(namespace, OrderedDict())
        line = lines.get(holders, OrderedDict())
        line.pop(served, None)
        if not line:
            lines.pop(holders, None)
        if not lines:
            self._waiting.pop(namespace, None)
