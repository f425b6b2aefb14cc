"""Large documents: read in turn, the last change of each, and nobody else's change waits for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from pullgate.store.port import Change, Key
from pullgate_proxy.state.large import LONGEST_REST, REST, LargeChanges


class Reader:
    """Reads one change at each `let`, and notes what is applied."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.applied: list[str] = []
        self._may = asyncio.Semaphore(0)
        self.large = LargeChanges(self._read)

    async def _read(self, change: Change) -> Callable[[], None]:
        words = f"{change.key.namespace}/{change.key.name} {(change.document or {})['turn']}"
        self.read.append(words)
        await self._may.acquire()
        return lambda: self.applied.append(words)

    async def let(self, count: int) -> None:
        for _ in range(count):
            self._may.release()
        await self.large.settle()


def change(namespace: str, name: str, turn: int) -> Change:
    return Change(Key("License", namespace, name), {"turn": turn})


async def test_a_document_that_is_written_again_and_again_is_read_in_its_last_form_alone() -> None:
    reader = Reader()
    for turn in range(50):
        reader.large.put(change("hostile", "large", turn))
        await asyncio.sleep(0)
    await reader.let(50)
    async with asyncio.timeout(10):
        while len(reader.applied) < 2:
            await asyncio.sleep(0.01)
    assert reader.applied == ["hostile/large 0", "hostile/large 49"]


async def test_a_document_that_was_read_rests_and_the_first_reading_of_another_does_not_wait_for_that() -> None:
    reader, took = Reader(), 0.05
    reader.large.put(change("hostile", "large", 0))
    await asyncio.sleep(took)
    await reader.let(3)
    ended = time.monotonic()
    reader.large.put(change("hostile", "large", 1))
    reader.large.put(change("hostile", "other", 0))
    await reader.let(0)
    assert reader.applied == ["hostile/large 0", "hostile/other 0"]
    async with asyncio.timeout(LONGEST_REST + 5):
        while len(reader.applied) < 3:
            await asyncio.sleep(0.01)
    assert reader.applied[2] == "hostile/large 1"
    assert time.monotonic() - ended > took * REST / 2


async def test_a_change_that_was_applied_at_once_while_the_document_rests_is_not_undone() -> None:
    reader = Reader()
    reader.large.put(change("good", "acme", 0))
    await reader.let(2)
    reader.large.put(change("good", "acme", 1))
    reader.large.drop(Key("License", "good", "acme"))
    async with asyncio.timeout(LONGEST_REST + 5):
        while reader.large._resting:
            await asyncio.sleep(0.01)
    await reader.let(1)
    assert reader.applied == ["good/acme 0"]


async def test_nothing_is_read_after_a_stop() -> None:
    reader = Reader()
    reader.large.put(change("good", "acme", 0))
    await reader.let(2)
    reader.large.put(change("good", "acme", 1))
    reader.large.stop()
    await asyncio.sleep(0.2)
    assert reader.read == ["good/acme 0"]


async def test_the_namespaces_are_served_in_turn() -> None:
    reader = Reader()
    for number in range(3):
        reader.large.put(change("hostile", f"l{number}", 0))
    reader.large.put(change("good", "acme", 0))
    await reader.let(4)
    assert reader.applied == ["hostile/l0 0", "good/acme 0", "hostile/l1 0", "hostile/l2 0"]


async def test_a_later_change_that_was_applied_at_once_is_not_undone() -> None:
    reader = Reader()
    reader.large.put(change("good", "acme", 0))
    reader.large.put(change("good", "globex", 0))
    await asyncio.sleep(0)
    assert reader.read == ["good/acme 0"]
    for name in ("acme", "globex"):
        reader.large.drop(Key("License", "good", name))
    await reader.let(2)
    assert reader.applied == []
