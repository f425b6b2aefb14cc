"""A circuit breaker: an upstream that is down is not asked by every pull, and is asked again by one at a time.

One request never decides for all. An upstream is down if there is no connection to it, or if several different requests
meet 5xx. A 4xx is an answer about its request. A slow answer comes from an upstream that is there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from pullgate import faults
from pullgate.upstream.request import UpstreamRequest

FAILURES: Final = 5
"""In a row, after which it is left alone; of 5xx only those of different requests count."""
FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 30.0
"""Seconds; doubled each time that the one who asks again finds it down."""

_FAILING: Final = (faults.UpstreamUnreachable, faults.UpstreamTimeout, faults.UpstreamError)
"""Faults that are no answer about a request. A refusal, or a 404, is one."""
_LISTS: Final = frozenset({"tags", "referrers"})
"""Some registries answer 5xx to lists that they do not have; their manifests and blobs are fine."""

_Key = tuple[str, str, str]

log = logging.getLogger(__name__)


class Breaker:
    """For one upstream. `enter`, then one of `succeeded`, `failed`, `left`."""

    def __init__(self, registry: str, clock: Callable[[], float]) -> None:
        self._registry, self._clock = registry, clock
        self._failures = 0
        """Requests in a row that got no connection."""
        self._failed: set[_Key] = set()
        """Different requests in a row that got 5xx; `FAILURES` at most."""
        self._pause = FIRST_PAUSE
        self._until: float | None = None
        """Open until then; after that, one request may ask. None: closed."""
        self._asking = False
        """True while that request is in flight."""
        self._last: _Key | None = None
        """The request that asked last while it was open, and got 5xx."""
        self._fault: faults.Fault | None = None

    @property
    def is_open(self) -> bool:
        """True if the breaker is open: the upstream gets no requests but single tries."""
        return self._until is not None

    def enter(self, request: UpstreamRequest | None = None) -> None:
        """Ask, or raise the fault that was met last."""
        if self._until is None or self._fault is None:
            return
        left = self._until - self._clock()
        if request is not None and _key(request) == self._last:
            left += self._pause  # a request that fails alone lets others ask first
        if left <= 0 and not self._asking:
            self._asking = True
            return
        wait = max(left, 1.0)
        words = f"{self._fault.message}; it is asked again in {wait:.0f} s"
        again = faults.fault_in_words(self._fault.reason, words, hint=self._fault.hint, retry_after=wait)
        raise again.quote(self._fault.said)

    def succeeded(self) -> None:
        """It answered."""
        if self._until is not None:
            log.warning("Registry %s: the upstream answers again", self._registry)
        self._failures, self._pause, self._until, self._asking, self._fault = 0, FIRST_PAUSE, None, False, None
        self._failed.clear()
        self._last = None

    def failed(self, fault: faults.Fault, request: UpstreamRequest) -> None:
        """`request` met `fault`: the upstream is down, or the fault is about this request alone."""
        if isinstance(fault, (faults.Overloaded, faults.ShareReached)):
            self.left()
        elif fault.elsewhere or not isinstance(fault, _FAILING):
            self.succeeded()  # it redirected, or refused: it is there
        elif fault.no_connection:
            self._last = None
            self._failures += 1
            self._note(fault)
        elif isinstance(fault, faults.UpstreamTimeout) or request.kind in _LISTS:
            self.left()
        else:
            key = _key(request)
            self._last = key if self._until is not None else None
            if len(self._failed) < FAILURES:
                self._failed.add(key)
            self._note(fault)

    def left(self) -> None:
        """The request ended without an answer that tells the upstream's state."""
        self._asking = False

    def _note(self, fault: faults.Fault) -> None:
        self._fault = fault
        if self._until is not None and self._asking:
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
            self._until, self._asking = self._clock() + self._pause, False
        elif self._until is None and self._failures + len(self._failed) >= FAILURES:
            log.warning("Registry %s: %s; it is left alone, and tried again by one at a time", self._registry, fault)
            self._until = self._clock() + self._pause


def _key(request: UpstreamRequest) -> _Key:
    return request.kind, request.repository, request.reference
