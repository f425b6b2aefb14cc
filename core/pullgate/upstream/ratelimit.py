"""An upstream's "not now", remembered, so that it is not asked again until then."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

from pullgate import faults

LONGEST = 3600.0
"""Seconds that a Retry-After is believed at most."""
_UNSAID = 60.0


def seconds_of(retry_after: str | None, now: float) -> float:
    """Retry-After (RFC 9110, section 10.2.3: seconds or a date) as seconds from `now` (Unix time), 1 to an hour.

    A minute where it is missing or means nothing.
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(LONGEST, max(1.0, float(text[:9])))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return _UNSAID
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(LONGEST, max(1.0, moment.timestamp() - now))


class RateLimit:
    """Until when one upstream, asked with one set of credentials, wants to be left alone."""

    def __init__(self, host: str, clock: Callable[[], float], wall_clock: Callable[[], float] = time.time) -> None:
        self._host = host
        self._clock = clock
        self._wall_clock = wall_clock
        self._until = 0.0

    def check(self) -> None:
        """Raises UpstreamRateLimited while the time has not passed."""
        if self._until:
            left = self._until - self._clock()
            if left > 0:
                raise faults.UpstreamRateLimited(self._host, left)
            self._until = 0.0

    def remember(self, retry_after: str | None) -> faults.UpstreamRateLimited:
        """Take note of a 429 and its Retry-After; the fault of it."""
        seconds = seconds_of(retry_after, self._wall_clock())
        self._until = max(self._until, self._clock() + seconds)
        return faults.UpstreamRateLimited(self._host, seconds)
