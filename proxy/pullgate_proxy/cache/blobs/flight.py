"""One blob on its way from one place's upstream into a file, followed by any number of readers of that place.

Readers send from the file what has come in so far, by sendfile; the last byte waits until the digest is right. So a
client costs no memory, and none of them sees a byte twice or brings a wrong blob to its end.
"""

from __future__ import annotations

import asyncio
import io
import os
from typing import Final

from pullgate import faults
from pullgate_proxy.cache.blobs.ask import Place

WAKE_BYTES: Final = 1024 * 1024
"""Readers that wait are woken for so much, or when no more is there."""


class Lost(Exception):
    """No more comes into the file, and that is no fault of the upstream's: go on without it from `available`."""


class Flight:
    """A blob in flight, as its readers see it."""

    def __init__(self, place: Place) -> None:
        """`place` is whose upstream delivers it, and whose readers may follow."""
        self.place = place
        self.size = 0
        self.opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """True when the size is known and bytes come; False if the blob is not kept in a file; or a fault."""
        self.readers = 0
        self.idle_since = 0.0
        """When the last reader left (monotonic)."""
        self.written = 0
        """Bytes that are in the file."""
        self._woken_at = 0
        self._whole = False
        self._failure: faults.Fault | Lost | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._descriptor = -1

    # --- by who fetches ---

    def open(self, size: int, descriptor: int) -> None:
        """Bytes come into the file behind `descriptor`, which `close` closes."""
        self.size, self._descriptor = size, descriptor
        self.opened.set_result(True)

    def refuse(self, fault: faults.Fault | None = None) -> None:
        """It does not come into a file; or not at all."""
        if self.opened.done():
            return
        if fault is None:
            self.opened.set_result(False)
        else:
            self.opened.set_exception(fault)
            self.opened.exception()  # seen: nobody may be left to wait for it

    def advance(self, written: int, *, wake: bool = False) -> None:
        """`written` bytes are in the file."""
        self.written = written
        if wake or written - self._woken_at >= WAKE_BYTES:
            self._wake()

    def finish(self) -> None:
        """All of it is in the file, and verified."""
        self.written, self._whole = self.size, True
        self._wake()

    def fail(self, why: faults.Fault | Lost) -> None:
        """No more comes."""
        self.refuse(why if isinstance(why, faults.Fault) else None)
        if not self._whole and self._failure is None:
            self._failure = why
            self._wake()

    def close(self) -> None:
        """No reader comes any more, and none is there."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    # --- by readers ---

    @property
    def available(self) -> int:
        """Bytes that may be sent."""
        return self.written if self._whole else min(self.written, self.size - 1)

    @property
    def is_over(self) -> bool:
        """True if the flight has completed or failed."""
        return self._whole or self._failure is not None

    def reopen(self) -> io.FileIO:
        """The file with a position of its own, even if it was unlinked."""
        return io.FileIO(os.open(f"/proc/self/fd/{self._descriptor}", os.O_RDONLY | os.O_CLOEXEC), "rb")

    async def wait_beyond(self, position: int) -> int:
        """More than `position` bytes. Raises Lost, or the fault that ended it."""
        while self.available <= position:
            if self._failure is not None:
                raise self._failure
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        return self.available

    def _wake(self) -> None:
        self._woken_at = self.written
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
