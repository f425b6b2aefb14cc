"""Wrong license keys, counted by where they come from. Only who shows a wrong one is ever asked about here.

A token bucket for each source: `AT_ONCE` attempts, and one more each `SECONDS`.

Nothing hangs on it for a right key, so that customers behind one address cannot lock each other out. It does not make
keys harder to guess either, which 256 random bits do: it names the mistake, and tells programs when to come back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pullgate.faults import Fault, KeyMalformed, KeyUnknown, TooManyAttempts
from pullgate_proxy.limits.buckets import Buckets
from pullgate_proxy.request.origin import source_of

AT_ONCE: Final = 20
SECONDS: Final = 3.0
SOURCES: Final = 10_000
"""Sources that are remembered; of more, the one is forgotten that was heard of longest ago."""


class Throttle:
    """The sources that sent wrong keys lately."""

    def __init__(self, clock: Callable[[], float], sources: int = SOURCES) -> None:
        """`clock` in seconds, from anywhere."""
        self._buckets = Buckets(clock, sources)

    def __len__(self) -> int:
        """How many sources are remembered."""
        return len(self._buckets)

    def judge(self, fault: Fault, client: str) -> Fault:
        """The fault for the address `client`: `fault`, or TooManyAttempts after too many wrong keys."""
        if not isinstance(fault, (KeyUnknown, KeyMalformed)):
            return fault
        wait = self._buckets.take(source_of(client), AT_ONCE, SECONDS)
        return fault if wait <= 0 else TooManyAttempts(AT_ONCE, wait)
