"""A License's limits: pulls an hour, bytes a day, blobs at once. Asked at each request, against what was used by then.

The bytes of a body are reserved before the first of them is sent, so that bodies that begin together never exceed the
limit. A body whose length nobody knows reserves in steps.

Hours and days are those of UTC, so that every replica means the same ones. This replica's own counts are exact.
The counts of its peers are as old as their last answer (`PEER_SECONDS`). So all together may exceed a limit by the
requests that the others let through meanwhile. Without peers each replica allows the full limit.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from pullgate.faults import LimitReached, TooManyTests
from pullgate.licensing.usage import HOUR, HOURS, Counts, Tally, read_tally
from pullgate.oci.json_text import read_json
from pullgate.policy.facts import LicenseFacts, Limits
from pullgate.usage.poller import InvalidUsage
from pullgate.words import count
from pullgate_proxy.limits.usage import UsageBook
from pullgate_proxy.request.parse import Kind, PullRequest
from pullgate_proxy.state.snapshot import Name

PEER_SECONDS: Final = 5.0
DAY: Final = HOURS * HOUR
"""Seconds."""
_BUSY_SECONDS: Final = 2.0
"""After which a client that has too many blobs at once may ask again."""

TESTS_PER_HOUR: Final = 100_000
"""Requests of tests as one License: four gates of 1,000 images with two platforms and ten layers each."""


@dataclass(slots=True)
class _Running:
    """The requests of one License that are in flight."""

    requests: Counter[Kind] = field(default_factory=Counter)
    reserved: int = 0
    """Bytes of bodies that have begun."""


@dataclass(slots=True, eq=False)
class Visit:
    """One request that was let in."""

    license: LicenseFacts
    limits: Limits
    """Those of the License when the request began."""
    kind: Kind
    running: _Running
    reserved: int = 0
    """Bytes."""


def limits_of(license_: LicenseFacts, request: PullRequest) -> Limits | None:
    """The License's limits, if one of them is about `request`; else None, and nobody need count it."""
    limits = license_.limits
    if limits is None or request.method != "GET":
        return None
    match request.kind:
        case Kind.MANIFESTS:
            concerned = limits.pulls_per_hour is not None or limits.bytes_per_day is not None
        case Kind.BLOBS:
            concerned = limits.concurrent_blobs is not None or limits.bytes_per_day is not None
        case Kind.TAGS | Kind.REFERRERS:
            concerned = limits.bytes_per_day is not None
        case _:
            concerned = False
    return limits if concerned else None


class PeerUsage:
    """The counts of the other replicas, by License."""

    def __init__(self, own: str) -> None:
        """`own` is the instance of this proxy's book, which the poller asks, too."""
        self._own = own
        self._heard: dict[str, float] = {}
        self._tallies: defaultdict[Name, dict[str, Tally]] = defaultdict(dict)

    async def take(self, body: bytes) -> tuple[str, int, bool]:
        """Take in an answer; see UsagePoller. Raises InvalidUsage."""
        try:
            document: Any = read_json(body)
            instance, last, more = str(document["instance"])[:64], int(document["last"]), bool(document["more"])
            rows = [((str(row["app"]), str(row["name"])), read_tally(row)) for row in document["licenses"]]
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise InvalidUsage(f"no usage: {type(error).__name__}") from error
        if instance != self._own:
            for name, tally in rows:
                self._tallies[name][instance] = tally
            self._heard[instance] = time.time()
            self._forget_the_old()
        return instance, last, more

    def of(self, name: Name) -> Iterable[Tally]:
        """Each peer's tally of a License; a peer that ended is counted until its day is over."""
        held = self._tallies.get(name)
        return held.values() if held else ()

    def _forget_the_old(self) -> None:
        now = time.time()
        old = [instance for instance, heard in self._heard.items() if now - heard > DAY]
        for instance in old:
            del self._heard[instance]
            for name in [n for n, held in self._tallies.items() if held.pop(instance, None) and not held]:
                del self._tallies[name]


class Gatekeeper:
    """Lets a License's requests in, up to its limits. `leave` must follow each `enter` that raised nothing."""

    def __init__(self, book: UsageBook, peers: PeerUsage, tests_per_hour: int = TESTS_PER_HOUR) -> None:
        self._book, self._peers, self._tests_per_hour = book, peers, tests_per_hour
        self._running: dict[Name, _Running] = {}

    def enter_test(self, license_: LicenseFacts, now: float) -> str:
        """Let a test in: it uses up no limit, and none refuses it. Returns which one is used up, in words, or nothing.

        Raises TooManyTests. That bound may be exceeded by the tests on their way.
        """
        hour = int(now) // HOUR
        if self._used(license_, hour, hour).tests >= self._tests_per_hour:
            raise TooManyTests(license_.name, self._tests_per_hour, HOUR - now % HOUR)
        if license_.limits is None:
            return ""
        running = self._running.get((license_.namespace, license_.name)) or _Running()
        try:
            self._check(license_, license_.limits, Kind.MANIFESTS, running, now)
        except LimitReached as fault:
            return fault.message
        return ""

    def enter(self, license_: LicenseFacts, limits: Limits, kind: Kind, now: float) -> Visit:
        """Let a request for `kind` in at `now` (Unix time). Raises LimitReached."""
        name = (license_.namespace, license_.name)
        running = self._running.get(name) or _Running()
        self._check(license_, limits, kind, running, now)
        running.requests[kind] += 1
        self._running[name] = running
        return Visit(license_, limits, kind, running)

    def reserve(self, visit: Visit, least: int, most: int, now: float) -> int:
        """Bytes from `least` to `most` that may be sent beside those reserved before. Raises LimitReached.

        They count as used until `leave`; by then the book must hold what was really sent.
        """
        limit = visit.limits.bytes_per_day
        if limit is None:
            return most
        left = max(limit - self._bytes_today(visit.license, visit.running, now), 0)
        if least > left:
            words = f"needs {_show(least)} for this body and has {_show(left)} left of its {_show(limit)} of today"
            raise LimitReached(visit.license.name, words, DAY - now % DAY)
        granted = min(most, left)
        visit.reserved += granted
        visit.running.reserved += granted
        return granted

    def leave(self, visit: Visit) -> None:
        """The request of `visit` has ended, and the book holds what it used."""
        running = visit.running
        running.requests[visit.kind] -= 1
        running.reserved -= visit.reserved
        if not running.requests.total():
            del self._running[visit.license.namespace, visit.license.name]

    def _check(self, license_: LicenseFacts, limits: Limits, kind: Kind, running: _Running, now: float) -> None:
        at_once, pulls, size = limits.concurrent_blobs, limits.pulls_per_hour, limits.bytes_per_day
        if kind is Kind.BLOBS and at_once is not None and running.requests[kind] >= at_once:
            raise LimitReached(license_.name, f"used its {count(at_once, 'blob')} at once", _BUSY_SECONDS)
        if kind is Kind.MANIFESTS and pulls is not None:
            hour = int(now) // HOUR
            # Each GET of a manifest that is running may become a pull.
            if self._used(license_, hour, hour).pulls + running.requests[kind] >= pulls:
                raise LimitReached(license_.name, f"used its {count(pulls, 'pull')} this hour", HOUR - now % HOUR)
        if size is not None and self._bytes_today(license_, running, now) >= size:
            raise LimitReached(license_.name, f"used its {_show(size)} of today", DAY - now % DAY)

    def _bytes_today(self, license_: LicenseFacts, running: _Running, now: float) -> int:
        """Bytes that were sent today, and those that running requests reserved."""
        return self._used(license_, int(now) // DAY * HOURS, int(now) // HOUR).bytes + running.reserved

    def _used(self, license_: LicenseFacts, first: int, last: int) -> Counts:
        """The sum over the hours `first` to `last` (Unix time / 3600)."""
        name = (license_.namespace, license_.name)
        own = self._book.tally(name)
        tallies = [*([own] if own is not None else []), *self._peers.of(name)]
        return sum((tally.between(first, last) for tally in tallies), Counts())


def _show(size: int) -> str:
    """Bytes as a spec writes them."""
    for unit, power in (("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)):
        if size >= 1 << power:
            return f"{size / (1 << power):.4g}{unit}"
    return f"{size} bytes"
