"""How often a License may have the upstream asked: a bound for each kind of request, also without limits of its own.

An answer from memory costs nothing, and neither does joining a request that is on its way already.
The bounds are generous: a large fleet stays below them, a loop does not. Each process counts for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pullgate.faults import LimitReached
from pullgate.licensing.usage import HOUR
from pullgate.policy.facts import LicenseFacts
from pullgate_proxy.limits.buckets import Buckets

ENTRIES: Final = 20_000
"""Buckets that are remembered: one for each License and kind that asked lately."""
MANIFESTS_PER_PULL: Final = 10
"""Manifests that may be asked for each of pullsPerHour: a pull asks for an index and an image, and a retry again."""
_HINT: Final = "wait, and ask less often: what the proxy answers from its cache is not counted"


class Asks(StrEnum):
    """The kinds of requests to an upstream. The value is the word of the refusal."""

    MANIFESTS = "manifests"
    """GETs of a tag or digest. An index is no pull, so pullsPerHour does not bound it."""
    HEADS = "HEADs"
    """HEADs of manifests and blobs."""
    LISTS = "lists"
    """Lists of tags or referrers. One under a tag rule takes up to 20 pages of the upstream."""
    PROOFS = "unproven digests"
    """Digests that a tag rule must be proven for: each may cost a request and a search."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A bucket's size, and how fast it fills."""

    at_once: int
    seconds: float
    """For each further token."""


# 500 nodes that start 10 images each, with neither cache nor tag TTL, ask for an index and an image each time: 10,000.
# A HEAD each for 500 nodes with 20 pods that always pull are 10,000, too. A tool that watches 600 repositories lists
# each of them once a minute.
BOUNDS: Final[Mapping[Asks, Bound]] = {
    Asks.MANIFESTS: Bound(10_000, 0.01),
    Asks.HEADS: Bound(10_000, 0.01),
    Asks.LISTS: Bound(600, 0.1),
    Asks.PROOFS: Bound(10_000, 0.01),
}


class Rates:
    """A bucket for each License and kind."""

    def __init__(self, clock: Callable[[], float], bounds: Mapping[Asks, Bound] = BOUNDS) -> None:
        """`clock` in seconds, from anywhere."""
        self._buckets, self._bounds = Buckets(clock, ENTRIES), bounds

    def __len__(self) -> int:
        """How many buckets are remembered."""
        return len(self._buckets)

    def spend(self, license_: LicenseFacts, asks: Asks) -> None:
        """The upstream is to be asked once for `license_`. Raises LimitReached."""
        bound = self._bound(license_, asks)
        # Another bound has another bucket: a limit that is changed holds for the next request.
        key = (license_.namespace, license_.name, asks, bound.at_once)
        wait = self._buckets.take(key, bound.at_once, bound.seconds)
        if wait > 0:
            raise LimitReached(license_.name, f"asks for too many {asks}: {_show(bound)}", wait, _HINT)

    def _bound(self, license_: LicenseFacts, asks: Asks) -> Bound:
        bound, limits = self._bounds[asks], license_.limits
        if asks is not Asks.MANIFESTS or limits is None or limits.pulls_per_hour is None:
            return bound
        count = MANIFESTS_PER_PULL * limits.pulls_per_hour
        return Bound(min(bound.at_once, count), max(bound.seconds, HOUR / count))


def _show(bound: Bound) -> str:
    per_minute = 60 / bound.seconds
    rate = f"{per_minute:.0f} a minute" if per_minute >= 1 else f"{per_minute * 60:.0f} an hour"
    return f"{bound.at_once} at once and {rate} may reach the registry"
