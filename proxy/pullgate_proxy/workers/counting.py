"""The usage of Licenses for all workers: the worker's side counts and reports, the supervisor's side decides."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any, Final

from pullgate.faults import LimitReached, ShuttingDown, TooManyTests, fault_in_words
from pullgate.licensing.usage import Counts
from pullgate.policy.facts import LicenseFacts, Limits
from pullgate_proxy.limits import Gatekeeper, Visit, limits_of
from pullgate_proxy.pipeline.request import Kind, PullRequest
from pullgate_proxy.pull_log import Record
from pullgate_proxy.state.snapshot import Name
from pullgate_proxy.usage import UsageBook
from pullgate_proxy.workers.line import Line, LineLost

TELL_SECONDS: Final = 0.2
"""After which the supervisor is told what was counted."""

Verdict = int | str | tuple[str, str, float | None]
"""The answer; or the reason, words and seconds of a refusal."""
Row = list[int | None]
"""A License's limits as they cross the line."""


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
    """The worker's Gate: it asks where a License has limits, for each test, and for each body of a bytesPerDay."""

    def __init__(self, line: Callable[[], Line], book: LineBook) -> None:
        self._line, self._book = line, book
        self._numbers = itertools.count(1)
        self._inside: dict[int, tuple[int, bool]] = {}
        """By the identity of the record: its number, and whether its bytes are to be reserved."""

    async def enter(self, license_: LicenseFacts, request: PullRequest, record: Record) -> None:
        """See Gate."""
        name = license_.namespace, license_.name
        if record.test:
            record.limit = await self._ask("enter test", *name, _row_of(license_.limits))
            return
        limits = limits_of(license_, request)
        if limits is None:
            return
        number = next(self._numbers)
        # Before the call: if its answer is lost, the supervisor still hears that the request has ended.
        self._inside[id(record)] = (number, limits.bytes_per_day is not None)
        await self._ask("enter", number, *name, request.kind, _row_of(limits))

    def counts_bytes(self, record: Record) -> bool:
        """See Gate."""
        return self._inside.get(id(record), (0, False))[1]

    async def reserve(self, record: Record, least: int, most: int) -> int:
        """See Gate."""
        if not self.counts_bytes(record):
            return most
        number, _ = self._inside[id(record)]
        return int(await self._ask("reserve", number, least, most))

    def leave(self, record: Record) -> None:
        """See Gate."""
        found = self._inside.pop(id(record), None)
        if found is not None:
            self._book.tell()  # what it used is counted before its place is free
            self._line().note("leave", found[0])

    async def _ask(self, name: str, *arguments: object) -> Any:
        """The supervisor's answer. Raises its refusal; ShuttingDown where there is no answer."""
        try:
            answer = await self._line().call(name, *arguments)
        except LineLost:
            raise ShuttingDown from None
        if isinstance(answer, int | str):
            return answer
        if answer is None:  # the handler failed: nothing was granted
            raise ShuttingDown
        reason, words, seconds = answer
        raise fault_in_words(reason, words, retry_after=seconds)


def _row_of(limits: Limits | None) -> Row | None:
    return [limits.pulls_per_hour, limits.bytes_per_day, limits.concurrent_blobs] if limits is not None else None


class Counter:
    """The supervisor's side, for one worker."""

    def __init__(self, book: UsageBook, gatekeeper: Gatekeeper) -> None:
        self._book, self._gatekeeper = book, gatekeeper
        self._inside: dict[int, Visit] = {}

    def counts(self, rows: list[list[Any]]) -> None:
        """See LineBook.tell."""
        for app, name, key, pulls, size, denied, tests, at in rows:
            self._book.note((app, name), Counts(pulls, size, denied, tests), key, at)

    def refused(self, app: str, name: str, refreshed_at: str) -> None:
        """See UsageBook.note_refused."""
        self._book.note_refused((app, name), refreshed_at)

    # These are no coroutines, so that calls take effect in the order in which they come.

    def enter_test(self, app: str, name: str, limits: Row | None) -> Verdict:
        """Let a test in; see Gatekeeper."""
        facts = LicenseFacts(app, name, (), limits=Limits(*limits) if limits is not None else None)
        try:
            return self._gatekeeper.enter_test(facts, time.time())
        except TooManyTests as fault:
            return fault.reason, fault.message, fault.retry_after

    def enter(self, number: int, app: str, name: str, kind: str, limits: Row) -> Verdict:
        """Let a request in."""
        facts = LicenseFacts(app, name, ())
        try:
            self._inside[number] = self._gatekeeper.enter(facts, Limits(*limits), Kind(kind), time.time())
        except LimitReached as fault:
            return fault.reason, fault.message, fault.retry_after
        return 0

    def reserve(self, number: int, least: int, most: int) -> Verdict:
        """Let a body go on; see Gatekeeper."""
        try:
            return self._gatekeeper.reserve(self._inside[number], least, most, time.time())
        except LimitReached as fault:
            return fault.reason, fault.message, fault.retry_after

    def leave(self, number: int) -> None:
        """The request has ended, and was counted. One that was refused is not inside."""
        visit = self._inside.pop(number, None)
        if visit is not None:
            self._gatekeeper.leave(visit)

    def gone(self) -> None:
        """The worker ended: what it had on its way is over, and its reserved bytes are given back."""
        for number in list(self._inside):
            self.leave(number)
