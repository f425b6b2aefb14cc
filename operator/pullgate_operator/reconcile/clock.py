"""A wall clock that knows whether it was set, also for a moment that nobody looked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from pullgate_operator.reconcile.settings import Clock

SET_SECONDS: Final = 5.0
"""A wall clock that differs by so much from the time that passed was set."""


class WatchedClock:
    """`clock`, and how far its answers lay apart from the time that passed."""

    def __init__(self, clock: Clock, steady: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._steady = clock, steady
        self._least = self._most = clock().timestamp() - steady()

    def __call__(self) -> datetime:
        """The time."""
        now = self._clock()
        offset = now.timestamp() - self._steady()
        self._least, self._most = min(self._least, offset), max(self._most, offset)
        return now

    def take_change(self) -> float:
        """By how many seconds it was set since this was last asked, there and back too; 0 if it was not."""
        offset = self().timestamp() - self._steady()
        change = self._most - self._least
        self._least = self._most = offset
        return change if change >= SET_SECONDS else 0.0
