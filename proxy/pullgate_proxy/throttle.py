"""Wrong license keys, counted by where they come from. Only who shows a wrong one is ever asked about here.

A token bucket for each source: `AT_ONCE` attempts, and one more each `SECONDS`. It is kept as one number, the time at
which the bucket is full again (the generic cell rate algorithm, ATM Forum TM 4.0, section 4.4.2).

Nothing hangs on it for a right key, so that customers behind one address cannot lock each other out. It does not make
keys harder to guess either, which 256 random bits do: it names the mistake, and tells programs when to come back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from pullgate.faults import Fault, KeyMalformed, KeyUnknown, TooManyAttempts
from pullgate_proxy.pipeline.origin import source_of

AT_ONCE: Final = 20
SECONDS: Final = 3.0
SOURCES: Final = 10_000
"""Sources that are remembered; of more, the one is forgotten that was heard of longest ago. About 200 bytes each."""


class Throttle:
    """Who showed wrong keys lately."""

    def __init__(self, clock: Callable[[], float], sources: int = SOURCES) -> None:
        """`clock` in seconds, from anywhere."""
        self._clock, self._limit = clock, sources
        self._full_at: OrderedDict[str, float] = OrderedDict()
        """Source -> when its bucket is full again. The one that was heard of longest ago is first."""

    def __len__(self) -> int:
        """How many sources are remembered."""
        return len(self._full_at)

    def judge(self, fault: Fault, client: str) -> Fault:
        """What the address `client` is told: `fault`, or TooManyAttempts in place of one of too many wrong keys."""
        if not isinstance(fault, (KeyUnknown, KeyMalformed)):
            return fault
        source, now = source_of(client), self._clock()
        full_at = max(self._full_at.get(source, now), now)
        wait = full_at - now - (AT_ONCE - 1) * SECONDS
        if wait <= 0:
            self._full_at[source] = full_at + SECONDS
        self._full_at.move_to_end(source)
        if len(self._full_at) > self._limit:
            self._full_at.popitem(last=False)
        return fault if wait <= 0 else TooManyAttempts(AT_ONCE, wait)
