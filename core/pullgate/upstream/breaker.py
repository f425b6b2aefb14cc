"""A circuit breaker: an upstream that is down is not asked by every pull, and is asked again by one at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from pullgate import faults

FAILURES: Final = 5
"""In a row, after which it is left alone."""
FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 30.0
"""Seconds; doubled each time that the one who asks again finds it down."""

DOWN: Final = (faults.UpstreamUnreachable, faults.UpstreamTimeout, faults.UpstreamError)
"""What says that it is down. A refusal, or a 404, is an answer."""

log = logging.getLogger(__name__)


class Breaker:
    """For one upstream. `enter`, then one of `succeeded`, `failed`, `left`."""

    def __init__(self, registry: str, clock: Callable[[], float]) -> None:
        self._registry, self._clock = registry, clock
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._until: float | None = None
        """Open until then; from then on one may ask. None: closed."""
        self._asking = False
        """Whether that one is on its way."""
        self._fault: faults.Fault | None = None

    @property
    def is_open(self) -> bool:
        """Whether the upstream is left alone."""
        return self._until is not None

    def enter(self) -> None:
        """Ask, or raise the fault that was met last."""
        if self._until is None or self._fault is None:
            return
        left = self._until - self._clock()
        if left <= 0 and not self._asking:
            self._asking = True
            return
        wait = max(left, 1.0)
        words = f"{self._fault.message}; it is asked again in {wait:.0f} s"
        raise faults.fault_in_words(self._fault.reason, words, hint=self._fault.hint, retry_after=wait)

    def succeeded(self) -> None:
        """It answered."""
        if self._until is not None:
            log.warning("Registry %s: the upstream answers again", self._registry)
        self._failures, self._pause, self._until, self._asking, self._fault = 0, FIRST_PAUSE, None, False, None

    def failed(self, fault: faults.Fault) -> None:
        """It is down."""
        self._failures += 1
        self._fault = fault
        if self._until is not None and self._asking:
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
            self._until, self._asking = self._clock() + self._pause, False
        elif self._until is None and self._failures >= FAILURES:
            log.warning("Registry %s: %s; it is left alone, and tried again by one at a time", self._registry, fault)
            self._until = self._clock() + self._pause

    def left(self) -> None:
        """Whoever asked is gone, without an answer."""
        self._asking = False
