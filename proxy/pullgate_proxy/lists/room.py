"""How many lists of upstreams are worked on at once: a page of 4 MiB is 16 MiB when it is parsed, until it is sent."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from pullgate.shares import Holders
from pullgate.slots import EVERYBODY, FairSlots

WAIT_SECONDS: Final = 20.0


class ListRoom:
    """Slots for lists of tags and referrers, shared out by app and Registry."""

    def __init__(self, limit: int) -> None:
        self._slots = FairSlots("lists", limit, waiting=EVERYBODY)

    @property
    def used(self) -> int:
        """Lists that are worked on."""
        return self._slots.used

    @contextlib.asynccontextmanager
    async def hold(self, holders: Holders) -> AsyncIterator[None]:
        """While a list is fetched and anything of it is in memory. Raises ShareReached, Overloaded."""
        await self._slots.take_within(holders, WAIT_SECONDS)
        try:
            yield
        finally:
            self._slots.give(holders)
