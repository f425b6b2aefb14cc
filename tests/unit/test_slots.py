"""Slots are served in turn by namespace, and nobody holds all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.shares import Holder, Kind, namespace_holder
from pullgate.slots import FairSlots, LineFull


class Crowd:
    """Tasks that want a slot each, and keep it until they are let go."""

    def __init__(self, slots: FairSlots) -> None:
        self.slots = slots
        self.inside: list[str] = []
        self._tasks: list[tuple[str, asyncio.Task[None]]] = []

    async def come(self, namespace: str, count: int = 1, registry: str = "") -> None:
        for _ in range(count):
            task = asyncio.create_task(self._hold(namespace, registry))
            self._tasks.append((namespace, task))
        await self.settle()

    async def _hold(self, namespace: str, registry: str) -> None:
        own = (Holder(Kind.REGISTRY, namespace, registry),) if registry else ()
        async with self.slots.hold(namespace_holder(namespace), *own):
            self.inside.append(namespace)
            try:
                await asyncio.Event().wait()
            finally:
                self.inside.remove(namespace)

    async def end(self, namespace: str, *, waiting: bool = False) -> None:
        """End one of `namespace`, that has a slot or waits for one."""
        of_it = [pair for pair in self._tasks if pair[0] == namespace]
        pair = of_it[-1 if waiting else 0]
        self._tasks.remove(pair)
        pair[1].cancel()
        await asyncio.gather(pair[1], return_exceptions=True)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def close(self) -> None:
        for _, task in self._tasks:
            task.cancel()
        await asyncio.gather(*(task for _, task in self._tasks), return_exceptions=True)


@contextlib.asynccontextmanager
async def crowd(limit: int, waiting: int = 100) -> AsyncIterator[Crowd]:
    people = Crowd(FairSlots("checks", limit, waiting=waiting))
    try:
        yield people
    finally:
        await people.close()
        assert (people.slots.used, people.slots.waiting) == (0, 0)


async def test_two_hogs_leave_a_slot_for_a_third_at_once() -> None:
    async with crowd(8) as people:
        await people.come("a", 20)
        await people.come("b", 20)
        assert (people.inside.count("a"), people.inside.count("b")) == (4, 2)
        await people.come("c")
        assert "c" in people.inside


async def test_who_waits_is_served_in_turn_by_namespace() -> None:
    async with crowd(1) as people:
        await people.come("a", 10)
        await people.come("b")
        await people.come("c")
        served = []
        for _ in range(4):
            served.append(people.inside[0])
            await people.end(people.inside[0])
        assert served == ["a", "a", "b", "c"]


async def test_a_registry_that_has_its_share_does_not_hold_up_others_of_its_app() -> None:
    async with crowd(9) as people:
        await people.come("a", 10, "slow")
        assert (len(people.inside), people.slots.waiting) == (4, 6)
        await people.come("a", 1, "quick")
        assert len(people.inside) == 5


async def test_registries_of_an_app_that_wait_are_served_in_turn() -> None:
    async with crowd(1) as people:
        await people.come("a", 4, "busy")
        await people.come("a", 1, "other")
        names = [holders[1].name for holders in people.slots._waiting["a"]]
        await people.end("a")
        assert (names, [holders[1].name for holders in people.slots._waiting["a"]]) == (
            ["busy", "other"],
            ["other", "busy"],
        )
        await people.end("a")
        assert [holders[1].name for holders in people.slots._waiting["a"]] == ["busy"]


async def test_the_line_is_bounded_and_nobody_fills_all_of_it() -> None:
    async with crowd(1, waiting=8) as people:
        await people.come("a", 20)
        assert people.slots.waiting == 4
        with pytest.raises(LineFull):
            async with people.slots.hold(namespace_holder("a")):
                pass
        await people.come("b")
        assert people.slots.waiting == 5


async def test_who_is_cancelled_in_the_turn_in_which_it_is_served_gives_its_slot_on() -> None:
    slots = FairSlots("checks", 1)

    async def hold() -> None:
        async with slots.hold(namespace_holder("a")):
            await asyncio.Event().wait()

    first, second, third = (asyncio.create_task(hold()) for _ in range(3))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)  # the slot is handed to the second, which has not run yet
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    await asyncio.sleep(0)
    assert (slots.used, slots.waiting) == (1, 0)
    third.cancel()
    await asyncio.gather(third, return_exceptions=True)
    assert slots.used == 0


@given(st.integers(1, 6), st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["come", "end", "leave"]))))
def test_in_any_order_no_slot_is_lost_and_nobody_waits_beside_one_that_it_may_have(
    limit: int, steps: list[tuple[str, str]]
) -> None:
    async def run() -> None:
        async with crowd(limit) as people:
            for namespace, step in steps:
                if step == "come":
                    await people.come(namespace)
                elif any(name == namespace for name, _ in people._tasks):
                    await people.end(namespace, waiting=step == "leave")
                assert people.slots.used == len(people.inside) <= limit
                free = limit - people.slots.used
                waits = {name for name, task in people._tasks} if people.slots.waiting else set()
                for name in waits:
                    waiting = sum(n == name for n, _ in people._tasks) - people.inside.count(name)
                    assert not waiting or people.inside.count(name) >= free

    asyncio.run(run())
