"""What Licenses use, for all workers: the worker's side counts a moment and tells, the supervisor's side decides."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any, Final

from pullgate.faults import LimitReached, ShuttingDown, TooManyTests, fault_in_words
from pullgate.licensing.usage import Counts
from pullgate.policy.facts import LicenseFacts, Limits
from pullgate_proxy.limits import Gatekeeper
from pullgate_proxy.pipeline.request import Kind, PullRequest
from pullgate_proxy.pull_log import Record
from pullgate_proxy.state.snapshot import Name
from pullgate_proxy.usage import UsageBook
from pullgate_proxy.workers.line import Line, LineLost

TELL_SECONDS: Final = 0.2
"""After which the supervisor is told what was counted."""
PROGRESS_SECONDS: Final = 1.0
"""After which it is told what was sent of bodies that are still on their way, of Licenses with limits."""


class LineBook:
    """The worker's UsageBook."""

    def __init__(self, line: Callable[[], Line], instance: str) -> None:
        self._line, self.instance = line, instance
        self._counts: dict[tuple[Name, str], tuple[Counts, float]] = {}

    def note(self, license_: Name, counts: Counts, key: str, now: float) -> None:
        """See UsageBook."""
        if not self._counts:
            asyncio.get_running_loop().call_later(TELL_SECONDS, self.tell)
        before = self._counts.get((license_, key))
        self._counts[license_, key] = (before[0] + counts if before is not None else counts, now)

    def tell(self) -> None:
        """Tell the supervisor what was counted since."""
        told, self._counts = self._counts, {}
        if told:
            rows = [[*name, key, c.pulls, c.bytes, c.denied, c.tests, at] for (name, key), (c, at) in told.items()]
            self._line().note("counts", rows)

    def note_refused(self, registry: Name, refreshed_at: str) -> None:
        """See UsageBook."""
        self._line().note("refused", *registry, refreshed_at)


class LineGate:
    """The worker's Gatekeeper: it asks where a License has limits, and for each test."""

    def __init__(self, line: Callable[[], Line], book: LineBook) -> None:
        self._line, self._book = line, book
        self._numbers = itertools.count(1)
        self._inside: dict[int, tuple[int, Record]] = {}
        """By the identity of the record."""

    async def enter(self, license_: LicenseFacts, request: PullRequest, record: Record, now: float) -> None:
        """See Gatekeeper."""
        limits = license_.limits
        is_limited = limits is not None and request.method == "GET" and request.kind in {Kind.MANIFESTS, Kind.BLOBS}
        if not is_limited and not record.test:
            return
        number = next(self._numbers)
        row = [limits.pulls_per_hour, limits.bytes_per_day, limits.concurrent_blobs] if limits is not None else None
        try:
            refused, record.limit = await self._line().call(
                "enter", number, license_.namespace, license_.name, request.kind, row, record.test
            )
        except LineLost:
            raise ShuttingDown from None
        if refused is not None:
            raise fault_in_words(refused[0], refused[1], retry_after=refused[2])
        if not record.test:
            self._inside[id(record)] = (number, record)

    def leave(self, record: Record) -> None:
        """See Gatekeeper."""
        found = self._inside.pop(id(record), None)
        if found is not None:
            self._book.tell()  # what it used is counted before its place is free
            self._line().note("leave", found[0])

    async def run(self) -> None:
        """Tell of bodies that are on their way, until cancelled."""
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            if self._inside:
                self._line().note("progress", [[number, record.bytes] for number, record in self._inside.values()])


class Counter:
    """The supervisor's side, for one worker."""

    def __init__(self, book: UsageBook, gatekeeper: Gatekeeper) -> None:
        self._book, self._gatekeeper = book, gatekeeper
        self._inside: dict[int, Record] = {}

    def counts(self, rows: list[list[Any]]) -> None:
        """See LineBook.tell."""
        for app, name, key, pulls, size, denied, tests, at in rows:
            self._book.note((app, name), Counts(pulls, size, denied, tests), key, at)

    def refused(self, app: str, name: str, refreshed_at: str) -> None:
        """See UsageBook.note_refused."""
        self._book.note_refused((app, name), refreshed_at)

    async def enter(
        self, number: int, app: str, name: str, kind: str, limits: list[int | None] | None, test: bool
    ) -> tuple[tuple[str, str, float | None] | None, str]:
        """Reason, words and seconds of a refusal, None where the request may go on; and what a test is to report."""
        facts = LicenseFacts(app, name, (), limits=Limits(*limits) if limits is not None else None)
        record = Record(app=app, license=name, kind=kind, test=test)
        try:
            await self._gatekeeper.enter(facts, PullRequest("GET", Kind(kind)), record, time.time())
        except (LimitReached, TooManyTests) as fault:
            return (fault.reason, fault.message, fault.retry_after), ""
        if not test:
            self._inside[number] = record
        return None, record.limit

    def leave(self, number: int) -> None:
        """The request has ended, and was counted."""
        record = self._inside.pop(number, None)
        if record is not None:
            self._gatekeeper.leave(record)

    def progress(self, rows: list[list[int]]) -> None:
        """Bytes that were sent of bodies on their way."""
        for number, sent in rows:
            record = self._inside.get(number)
            if record is not None:
                record.bytes = sent

    def gone(self) -> None:
        """The worker ended: what it had on its way is over."""
        for number in list(self._inside):
            self.leave(number)
