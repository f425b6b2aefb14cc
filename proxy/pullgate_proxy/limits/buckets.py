"""Token buckets by key, bounded in number.

A bucket is kept as one number, the time at which it is full again (the generic cell rate algorithm, ATM Forum TM 4.0,
section 4.4.2). An empty bucket refills with one token each `seconds`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

_GRAIN: Final = 0.001
"""Seconds that are no wait: sums of thousands of times are not exact."""


class Buckets:
    """Remembers at most `limit` keys; of more, the one used longest ago is forgotten. About 200 bytes each."""

    def __init__(self, clock: Callable[[], float], limit: int) -> None:
        """`clock` in seconds, from anywhere."""
        self._clock, self._limit = clock, limit
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()
        """The key used longest ago is first."""

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._full_at)

    def take(self, key: Hashable, at_once: int, seconds: float) -> float:
        """Take a token from the bucket of `key`, which holds `at_once`: 0, or the seconds until there is one."""
        now = self._clock()
        full_at = max(self._full_at.get(key, now), now)
        wait = full_at - now - (at_once - 1) * seconds
        if wait <= _GRAIN:
            self._full_at[key] = full_at + seconds
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._limit:
            self._full_at.popitem(last=False)
        return wait if wait > _GRAIN else 0.0
