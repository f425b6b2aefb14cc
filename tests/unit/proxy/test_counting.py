"""The line of a worker's limits: what was let in is let out again, however the call for it ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pullgate.faults import LimitReached, ShuttingDown
from pullgate.policy.facts import LicenseFacts, Limits
from pullgate_proxy.limits import Gatekeeper, PeerUsage
from pullgate_proxy.pipeline.request import Kind, PullRequest
from pullgate_proxy.pull_log import Record
from pullgate_proxy.usage import UsageBook
from pullgate_proxy.workers.counting import Counter, LineBook, LineGate
from pullgate_proxy.workers.line import Line

BLOB = PullRequest("GET", Kind.BLOBS)
ACME = LicenseFacts("my-app", "acme", (), limits=Limits(bytes_per_day=100, concurrent_blobs=2))


class Ends:
    """A worker's gate, and the supervisor's side of it."""

    def __init__(self) -> None:
        self.book = UsageBook()
        self.gatekeeper = Gatekeeper(self.book, PeerUsage(self.book.instance))
        self.counter = Counter(self.book, self.gatekeeper)
        ours, theirs = socket.socketpair()
        handlers: dict[str, Any] = {
            "counts": self.counter.counts,
            "enter": self.counter.enter,
            "reserve": self.counter.reserve,
            "leave": self.counter.leave,
        }
        self.lines = (Line(ours, handlers), Line(theirs, {}))
        worker = self.lines[1]
        self.gate = LineGate(lambda: worker, LineBook(lambda: worker, "instance"))

    async def settle(self) -> None:
        """Wait until the supervisor heard all that was said before."""
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    made = Ends()
    for line in made.lines:
        await line.open()
    tasks = [asyncio.create_task(line.run()) for line in made.lines]
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for line in made.lines:
        await line.close()


async def test_bytes_are_reserved_over_the_line_and_given_back(ends: Ends) -> None:
    first, second = Record(), Record()
    await ends.gate.enter(ACME, BLOB, first)
    await ends.gate.enter(ACME, BLOB, second)
    assert await ends.gate.reserve(first, 60, 60) == 60
    with pytest.raises(LimitReached, match="license acme needs 50 bytes for this body and has 40 bytes left"):
        await ends.gate.reserve(second, 50, 50)
    ends.gate.leave(first)
    assert await ends.gate.reserve(second, 50, 50) == 50
    ends.counter.gone()
    assert not ends.gatekeeper._running


async def test_a_request_that_is_cancelled_while_it_asks_leaves_nothing_inside(ends: Ends) -> None:
    for _ in range(5):
        record = Record()
        asking = asyncio.create_task(ends.gate.enter(ACME, BLOB, record))
        await asyncio.sleep(0)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        ends.gate.leave(record)
    await ends.settle()
    assert not ends.gatekeeper._running
    await ends.gate.enter(ACME, BLOB, Record())


@pytest.mark.logs_traceback("reserve failed")
async def test_a_supervisor_that_fails_to_answer_grants_nothing(ends: Ends) -> None:
    record = Record()
    await ends.gate.enter(ACME, BLOB, record)
    ends.counter.gone()
    with pytest.raises(ShuttingDown):
        await ends.gate.reserve(record, 1, 1)


async def test_a_license_without_bytes_a_day_sends_no_message_for_a_body(ends: Ends) -> None:
    record = Record()
    await ends.gate.enter(LicenseFacts("my-app", "acme", (), limits=Limits(concurrent_blobs=2)), BLOB, record)
    ends.counter.gone()  # it would not answer
    assert await ends.gate.reserve(record, 1, 9) == 9
