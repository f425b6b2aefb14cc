"""An upstream's "not now", remembered, so that it is not asked again until then."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from pullgate import faults

LONGEST = 3600.0
"""Seconds that a Retry-After is believed at most."""
PAUSE: Final = 5.0
LOGIN_PAUSE: Final = 60.0
"""Seconds that an upstream is left alone if it names no time: our own choice, never given out as its word."""


def seconds_of(retry_after: str | None, now: float) -> float | None:
    """Retry-After (RFC 9110, section 10.2.3: seconds or a date) as seconds from `now` (Unix time), 1 to an hour.

    None if it is missing or means nothing.
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(LONGEST, max(1.0, float(text[:9])))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(LONGEST, max(1.0, moment.timestamp() - now))


class RateLimit:
    """Until when one upstream, asked with one set of credentials, wants to be left alone."""

    def __init__(
        self,
        host: str,
        clock: Callable[[], float],
        wall_clock: Callable[[], float] = time.time,
        *,
        logins: bool = False,
    ) -> None:
        """`logins`: the limit is the token server's, which does not concern who has a token."""
        self._host = host
        self._clock = clock
        self._wall_clock = wall_clock
        self._logins = logins
        self._until = 0.0
        self._named = False
        self._said = ""

    def check(self) -> None:
        """Raises UpstreamRateLimited while the time has not passed."""
        if self._until:
            left = self._until - self._clock()
            if left > 0:
                raise self._fault(left if self._named else None)
            self._until = 0.0

    def remember(self, retry_after: str | None, said: str = "") -> faults.UpstreamRateLimited:
        """Take note of a 429, its Retry-After and its own sentence; the fault of it."""
        seconds = seconds_of(retry_after, self._wall_clock())
        until = self._clock() + (seconds or (LOGIN_PAUSE if self._logins else PAUSE))
        if until >= self._until:
            self._until, self._named, self._said = until, seconds is not None, said
        return self._fault(seconds)

    def _fault(self, seconds: float | None) -> faults.UpstreamRateLimited:
        fault = faults.UpstreamRateLimited(self._host, seconds, logins=self._logins)
        fault.said = self._said
        return fault
