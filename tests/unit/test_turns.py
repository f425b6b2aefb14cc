"""Long work leaves the event loop to everybody else: in slices that stand in one line, or in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import threading
from collections.abc import AsyncIterator

import pytest

from pullgate import turns as turns_module
from pullgate.shares import namespace_holder
from pullgate.turns import DOCUMENT_INLINE, INLINE, SLICE, SWITCH, Pauses, Turns, aside, weigh

STEP = SLICE / 5


class Clock:
    """Each look at it takes a fifth of a slice, as an item of work does."""

    def __init__(self) -> None:
        self._looks = itertools.count()

    def __call__(self) -> float:
        return next(self._looks) * STEP


@contextlib.asynccontextmanager
async def loop_watched(log: list[str]) -> AsyncIterator[None]:
    """Writes `turn` to `log` at each turn of the loop."""

    async def tick() -> None:
        while True:
            log.append("turn")
            await asyncio.sleep(0)

    task = asyncio.create_task(tick())
    yield
    task.cancel()


def longest_run(log: list[str], of: str) -> int:
    return max((len(list(run)) for name, run in itertools.groupby(log) if name == of), default=0)


async def work(log: list[str], items: int, app: str = "my-app", name: str = "item") -> None:
    async with Turns((namespace_holder(app),), Clock()) as turns:
        for _ in range(items):
            log.append(name)
            await turns.give()


async def test_one_piece_of_work_holds_the_loop_for_a_slice_at_most() -> None:
    log: list[str] = []
    async with loop_watched(log):
        await work(log, 60)
    assert log.count("item") == 60
    assert longest_run(log, "item") <= SLICE / STEP + 1


async def test_many_pieces_of_work_hold_the_loop_no_longer_than_one() -> None:
    log: list[str] = []
    async with loop_watched(log):
        await asyncio.gather(*(work(log, 20) for _ in range(8)))
    first = log.index("turn", log.index("item"))  # what each may do at once, before it stands in line
    assert log.count("item") == 160
    assert longest_run(log[first:], "item") <= SLICE / STEP + 1


async def test_an_app_with_many_pieces_of_work_delays_that_of_another_by_a_slice_each_time() -> None:
    log: list[str] = []
    hogs = [asyncio.create_task(work(log, 10_000)) for _ in range(50)]
    await asyncio.sleep(2 * SLICE)
    await work(log, 40, "other-app", "other")
    for hog in hogs:
        hog.cancel()
    await asyncio.gather(*hogs, return_exceptions=True)
    assert log[log.index("other") :].count("item") < 40 * 3, "of one line for all it were 40 for each hog"


async def test_work_that_is_cancelled_leaves_the_line_to_others() -> None:
    log: list[str] = []
    pieces = [asyncio.create_task(work(log, 10_000)) for _ in range(3)]
    await asyncio.sleep(3 * SLICE)
    for piece in pieces:
        piece.cancel()
    await asyncio.gather(*pieces, return_exceptions=True)
    async with asyncio.timeout(5):
        await work(log, 30)


async def test_a_loop_over_a_watch_lets_others_run() -> None:
    log: list[str] = []
    async with loop_watched(log):
        pauses = Pauses(Clock())
        for _ in range(60):
            log.append("item")
            await pauses.give()
    assert longest_run(log, "item") <= SLICE / STEP + 1


@pytest.mark.parametrize(("size", "beside"), [(INLINE, False), (INLINE + 1, True)])
async def test_a_large_input_is_worked_on_in_a_thread(size: int, beside: bool) -> None:
    assert (await aside(size, threading.get_ident) != threading.get_ident()) is beside


async def test_the_loop_has_the_interpreter_back_within_half_a_millisecond() -> None:
    """Python's own 5 ms, at each call that waits, would leave it 200 of them a second."""
    await aside(INLINE + 1, lambda: None)
    assert sys.getswitchinterval() <= SWITCH


async def test_few_threads_take_the_interpreter_from_the_loop() -> None:
    used = await asyncio.gather(*(aside(INLINE + 1, threading.get_ident) for _ in range(20)))
    assert len(set(used)) <= turns_module.THREADS


@pytest.mark.parametrize(
    "document",
    [{"a": "x" * 10_000}, {"a": ["x"] * 10_000}, {"x" * 10_000: 1}, {str(n): {} for n in range(9000)}, [[]] * 9000],
)
def test_a_document_is_weighed_by_all_that_it_holds(document: object) -> None:
    assert weigh(document) > DOCUMENT_INLINE
    assert weigh({"kind": "License", "spec": {"entitlements": [{"repositories": ["a/*"]}]}}) < 200
