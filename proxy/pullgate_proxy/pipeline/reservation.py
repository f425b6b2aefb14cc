"""The bytes of a body, reserved before they are sent: at once if its length is known, else step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

STEP: Final = 1024 * 1024
"""Bytes that a body without a length reserves at a time: a few chunks, so that not each of them asks."""

Reserve = Callable[[int, int], int]
"""(least, most) bytes -> how many of them may be sent beside the earlier ones. Raises a fault for less than `least`."""


class Reservation:
    """The bytes that one body may send."""

    def __init__(self, reserve: Reserve) -> None:
        self._reserve = reserve
        self._size = 0

    def begin(self, length: int | None) -> None:
        """Reserve all `length` bytes; None: a first step, of at least one byte. Raises what `reserve` does."""
        if length is None:
            self._size = self._reserve(1, STEP)
        elif length:
            self._size = self._reserve(length, length)

    def cover(self, size: int) -> None:
        """Have `size` bytes reserved, counted from the body's beginning. Raises what `reserve` does."""
        missing = size - self._size
        if missing > 0:
            self._size += self._reserve(missing, max(missing, STEP))
