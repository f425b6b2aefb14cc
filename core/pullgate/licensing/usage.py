"""Usage of a License by the hour: counted by each proxy, added up by the operator.

A pull is a GET of an image's manifest that was answered; an index is not counted, since what it names follows. A
request with a test mark counts as a request of tests and as nothing else: the rest is the customer's own.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

HOURS: Final = 24
HOUR: Final = 3600
KEY_LIMIT: Final = 16
"""Keys of one License whose last use is kept."""
_PARTS: Final = 4


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of one request, one hour, or a day."""

    pulls: int = 0
    bytes: int = 0
    denied: int = 0
    tests: int = 0
    """Requests of tests."""

    def __add__(self, other: Counts) -> Counts:
        pulls, size, denied = self.pulls + other.pulls, self.bytes + other.bytes, self.denied + other.denied
        return Counts(pulls, size, denied, self.tests + other.tests)


@dataclass(frozen=True, slots=True)
class Usage:
    """One License's usage, added up over all proxies."""

    last_pull: int
    """Unix time, 0 for never."""
    counts: Counts
    """Counts of the last 24 hours, the running one included."""
    key_used: Mapping[str, int] = field(default_factory=dict)
    """Id of a key -> Unix time of its last use."""


class Tally:
    """One License's use as one proxy saw it: a ring of 24 hours, 768 bytes."""

    __slots__ = ("_cells", "_hour", "key_used", "last_pull")

    def __init__(self) -> None:
        self.last_pull = 0
        self.key_used: dict[str, int] = {}
        self._hour = 0
        """The newest hour (Unix time / 3600) that the ring holds."""
        self._cells = array("Q", bytes(8 * HOURS * _PARTS))

    def count(self, now: float, counts: Counts, key: str = "") -> None:
        """Add what happened at `now` (Unix time), by the key with the id `key`."""
        second = int(now)
        hour = second // HOUR
        if hour > self._hour:
            self._turn(hour)
        if hour > self._hour - HOURS:
            self._add(hour, counts)
        if counts.pulls and second > self.last_pull:
            self.last_pull = second
        if key and second > self.key_used.get(key, 0):
            self.key_used[key] = second
            while len(self.key_used) > KEY_LIMIT:
                del self.key_used[min(self.key_used, key=self.key_used.__getitem__)]

    def total(self, now: float) -> Counts:
        """Counts of the 24 hours that end with the hour of `now`; hours after it (a clock was set back) count, too."""
        first = int(now) // HOUR - HOURS + 1
        return sum((self._of(hour) for hour in self._hours() if hour >= first), Counts())

    def between(self, first: int, last: int) -> Counts:
        """Counts of the hours `first` to `last` (Unix time / 3600), as far as they are kept."""
        kept = range(max(first, self._hour - HOURS + 1, 0), min(last, self._hour) + 1)
        return sum((self._of(hour) for hour in kept), Counts())

    def document(self) -> dict[str, Any]:
        """As `read_tally` takes it."""
        found = [(hour, self._of(hour)) for hour in self._hours()]
        hours = [[hour, c.pulls, c.bytes, c.denied] for hour, c in found if c.pulls or c.bytes or c.denied]
        # Apart, so that a reader of an earlier version takes the rest.
        tests = [[hour, c.tests] for hour, c in found if c.tests]
        return {"lastPull": self.last_pull, "hours": hours, "keys": dict(self.key_used), "tests": tests}

    def _hours(self) -> range:
        return range(max(self._hour - HOURS + 1, 0), self._hour + 1)

    def _turn(self, hour: int) -> None:
        """Make `hour` the newest, and forget those that it pushes out."""
        for passed in range(max(self._hour + 1, hour - HOURS + 1), hour + 1):
            start = passed % HOURS * _PARTS
            self._cells[start : start + _PARTS] = array("Q", bytes(8 * _PARTS))
        self._hour = max(self._hour, hour)

    def _of(self, hour: int) -> Counts:
        start = hour % HOURS * _PARTS
        return Counts(*self._cells[start : start + _PARTS])

    def _add(self, hour: int, counts: Counts) -> None:
        cells, start = self._cells, hour % HOURS * _PARTS
        cells[start] += counts.pulls
        cells[start + 1] += counts.bytes
        cells[start + 2] += counts.denied
        cells[start + 3] += counts.tests


def read_tally(document: Mapping[str, Any]) -> Tally:
    """A tally from what `Tally.document` made, also in an earlier version, which counted no tests.

    Raises ValueError, KeyError, TypeError, AttributeError, OverflowError.
    """
    tally = Tally()
    for hour, pulls, size, denied in document["hours"]:
        tally.count(int(hour) * HOUR, Counts(int(pulls), int(size), int(denied)))
    for hour, tests in document.get("tests", ()):
        tally.count(int(hour) * HOUR, Counts(tests=int(tests)))
    tally.last_pull = int(document["lastPull"])
    for key, used in list(document["keys"].items())[:KEY_LIMIT]:
        tally.key_used[str(key)] = int(used)
    return tally


def add_up(tallies: Iterable[Tally], now: float) -> Usage:
    """Add up one License's usage over several proxies."""
    last, counts, keys = 0, Counts(), dict[str, int]()
    for tally in tallies:
        last, counts = max(last, tally.last_pull), counts + tally.total(now)
        for key, used in tally.key_used.items():
            keys[key] = max(keys.get(key, 0), used)
    return Usage(last, counts, keys)
