"""A License's limits: pulls an hour, bytes a day, blobs at once. Asked at each request, against what was used by then.

Hours and days are those of UTC, so that every replica means the same ones. What this replica counted is exact; what its
peers counted is as old as their last answer (`PEER_SECONDS`), so that all together may exceed a limit by what the
others let through meanwhile. Without peers each replica allows the whole limit.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pullgate.faults import LimitReached, TooManyTests
from pullgate.licensing.usage import HOUR, HOURS, Counts, Tally, read_tally
from pullgate.oci.json_text import read_json
from pullgate.policy.facts import LicenseFacts, Limits
from pullgate.usage.poller import InvalidUsage
from pullgate_proxy.pipeline.request import Kind, PullRequest
from pullgate_proxy.pull_log import Record
from pullgate_proxy.state.snapshot import Name
from pullgate_proxy.usage import UsageBook

PEER_SECONDS: Final = 5.0
_BUSY_SECONDS: Final = 2.0
"""After which a client that has too many blobs at once may ask again."""

TESTS_PER_HOUR: Final = 100_000
"""Requests of tests as one License: four gates of 1,000 images with two platforms and ten layers each."""


@dataclass(slots=True)
class _Running:
    """What one License has on its way."""

    manifests: int = 0
    """GETs of manifests: each may become a pull."""
    blobs: int = 0


class PeerUsage:
    """What the other replicas counted, by License."""

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
        old = [instance for instance, heard in self._heard.items() if now - heard > HOURS * HOUR]
        for instance in old:
            del self._heard[instance]
            for name in [n for n, held in self._tallies.items() if held.pop(instance, None) and not held]:
                del self._tallies[name]


class Gatekeeper:
    """Lets a License's requests in, up to its limits."""

    def __init__(self, book: UsageBook, peers: PeerUsage, tests_per_hour: int = TESTS_PER_HOUR) -> None:
        self._book, self._peers, self._tests_per_hour = book, peers, tests_per_hour
        self._running: dict[Name, tuple[_Running, dict[int, Record]]] = {}

    async def enter(self, license_: LicenseFacts, request: PullRequest, record: Record, now: float) -> None:
        """Let `request` in at `now` (Unix time), `leave` must follow. Raises LimitReached; then nothing must.

        A test raises TooManyTests alone, and notes in `record` which limit of the customer is used up.
        """
        if record.test:
            self._enter_test(license_, record, now)
            return
        limits = license_.limits
        if limits is None or request.method != "GET" or request.kind not in {Kind.MANIFESTS, Kind.BLOBS}:
            return
        name = (license_.namespace, license_.name)
        running, records = self._running.get(name) or (_Running(), {})
        self._check(license_.name, limits, name, request.kind, running, records, now)
        if request.kind is Kind.MANIFESTS:
            running.manifests += 1
        else:
            running.blobs += 1
        records[id(record)] = record
        self._running[name] = (running, records)

    def _enter_test(self, license_: LicenseFacts, record: Record, now: float) -> None:
        """A test uses up no limit, and none refuses it. Its own bound may be exceeded by requests on their way."""
        name, hour = (license_.namespace, license_.name), int(now) // HOUR
        if self._used(name, hour, hour).tests >= self._tests_per_hour:
            raise TooManyTests(license_.name, self._tests_per_hour, HOUR - now % HOUR)
        if license_.limits is not None:
            running, records = self._running.get(name) or (_Running(), {})
            try:
                self._check(license_.name, license_.limits, name, Kind.MANIFESTS, running, records, now)
            except LimitReached as fault:
                record.limit = fault.message

    def leave(self, record: Record) -> None:
        """The request of `record` has ended, and was counted in the book."""
        name = (record.app, record.license)
        held = self._running.get(name)
        if held is None or held[1].pop(id(record), None) is None:
            return
        running, records = held
        if record.kind == Kind.MANIFESTS:
            running.manifests -= 1
        else:
            running.blobs -= 1
        if not records:
            del self._running[name]

    def _check(
        self,
        license_name: str,
        limits: Limits,
        name: Name,
        kind: Kind,
        running: _Running,
        records: dict[int, Record],
        now: float,
    ) -> None:
        if kind is Kind.BLOBS and limits.concurrent_blobs is not None and running.blobs >= limits.concurrent_blobs:
            raise LimitReached(license_name, f"{limits.concurrent_blobs} blobs at once", _BUSY_SECONDS)
        if kind is Kind.MANIFESTS and limits.pulls_per_hour is not None:
            used = self._used(name, int(now) // HOUR, int(now) // HOUR).pulls + running.manifests
            if used >= limits.pulls_per_hour:
                raise LimitReached(license_name, f"{limits.pulls_per_hour} pulls this hour", HOUR - now % HOUR)
        if limits.bytes_per_day is not None:
            day = HOUR * HOURS
            first = int(now) // day * HOURS
            used = self._used(name, first, int(now) // HOUR).bytes + sum(r.bytes for r in records.values())
            if used >= limits.bytes_per_day:
                words = f"{_show(limits.bytes_per_day)} of today"
                raise LimitReached(license_name, words, day - now % day)

    def _used(self, name: Name, first: int, last: int) -> Counts:
        """Of the hours `first` to `last` (Unix time / 3600)."""
        own = self._book.tally(name)
        tallies = [*([own] if own is not None else []), *self._peers.of(name)]
        return sum((tally.between(first, last) for tally in tallies), Counts())


def _show(size: int) -> str:
    """Bytes as a spec writes them."""
    for unit, power in (("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)):
        if size >= 1 << power:
            return f"{size / (1 << power):.4g}{unit}"
    return f"{size} bytes"
