"""The order of work: what changed first, a bounded share for passes, and the namespaces in turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from pullgate.store.port import Key
from pullgate_operator.reconcile.queue import CHANGES_IN_A_ROW, WorkQueue

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def key(name: str, namespace: str = "my-app") -> Key:
    return Key("License", namespace, name)


def queue() -> WorkQueue:
    return WorkQueue(lambda: NOW)


async def order(queue: WorkQueue, count: int | None = None) -> list[str]:
    """The names in the order in which one worker takes them."""
    names = []
    for _ in range(len(queue) if count is None else count):
        taken = await queue.take()
        queue.done(taken)
        names.append(taken.name)
    return names


@contextlib.asynccontextmanager
async def timers(queue: WorkQueue) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run_timers())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_change_goes_before_a_pass_of_thousands() -> None:
    work = queue()
    for number in range(3000):
        work.add_to_pass(key(f"l{number}"))
    work.add(key("new"))
    assert await order(work, 2) == ["new", "l0"]


async def test_a_change_of_what_waits_in_a_pass_is_worked_on_once_and_first() -> None:
    work = queue()
    for number in range(5):
        work.add_to_pass(key(f"l{number}"))
    work.add(key("l3"))
    work.add_to_pass(key("l3"))
    assert await order(work) == ["l3", "l0", "l1", "l2", "l4"]
    assert work.idle


async def test_changes_without_pause_leave_a_pass_its_share() -> None:
    work = queue()
    for number in range(10):
        work.add_to_pass(key(f"pass{number}"))
    work.add(key("busy"))
    taken = []
    while len(work) > 1:
        taken += await order(work, 1)
        work.add(key("busy"))
    rounds = ["busy"] * CHANGES_IN_A_ROW
    assert taken == [name for number in range(10) for name in (*rounds, f"pass{number}")]


async def test_a_namespace_with_many_changes_does_not_hold_up_another() -> None:
    work = queue()
    for number in range(100):
        work.add(key(f"busy{number}", "busy"))
    work.add(key("a", "calm"))
    work.add(key("b", "calm"))
    assert await order(work, 5) == ["busy0", "a", "busy1", "b", "busy2"]


async def test_a_namespace_that_changes_without_pause_does_not_starve_another() -> None:
    work = queue()
    for number in range(10):
        work.add(key(f"calm{number}", "calm"))
    taken = []
    for number in range(20):
        work.add(key(f"busy{number}", "busy"))
        taken += await order(work, 1)
    assert [name for name in taken if name.startswith("calm")] == [f"calm{number}" for number in range(10)]


async def test_the_namespaces_of_a_pass_take_turns() -> None:
    work = queue()
    for number in range(100):
        work.add_to_pass(key(f"l{number}", "large"))
    work.add_to_pass(key("s", "small"))
    assert await order(work, 3) == ["l0", "s", "l1"]


async def test_what_changes_while_it_is_worked_on_comes_again_as_a_change() -> None:
    work = queue()
    for number in range(3):
        work.add_to_pass(key(f"l{number}"))
    taken = await work.take()
    work.add(taken)
    work.add_to_pass(taken)
    work.done(taken)
    assert await order(work) == ["l0", "l1", "l2"]


async def test_what_only_time_makes_due_waits_for_changes() -> None:
    work = queue()
    work.add_at(key("due"), NOW - timedelta(seconds=1))
    async with timers(work):
        while not len(work):
            await asyncio.sleep(0)
    work.add(key("new"))
    assert await order(work) == ["new", "due"]


async def test_a_change_that_failed_comes_again_before_a_pass() -> None:
    now = NOW
    work = WorkQueue(lambda: now)
    work.add(key("new"))
    work.add_to_pass(key("old"))
    for _ in range(2):
        work.failed(await work.take())
    for number in range(3):
        work.add_to_pass(key(f"l{number}"))
    now += timedelta(minutes=1)
    async with timers(work):
        while len(work) < 5:
            await asyncio.sleep(0)
    assert await order(work) == ["new", "l0", "l1", "l2", "old"]
