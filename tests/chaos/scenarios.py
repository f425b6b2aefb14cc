"""A scenario: load before, during and after a fault, and the invariants that must hold."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from tests.chaos.links import Link, Toxic
from tests.chaos.loader import Loader, Tally
from tests.chaos.stage import Process, Stage

RECOVERY_SECONDS = 20.0
"""Within which every image can be pulled again after a toxic is gone."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one toxic."""

    where: str
    name: str
    tally: Tally
    recovered: float | None
    """Seconds from its end until every image could be pulled; None if that did not happen."""
    behind: bool
    """True if it corrupts bytes after the proxy has sent them: then the client finds wrong bytes."""
    harmless: bool = False
    """True if no pull may fail and no request may time out, even during the toxic."""

    @property
    def good(self) -> bool:
        """True if the proxy completed no wrong body, every image recovered, and a harmless toxic cost no pull."""
        lost = self.tally.failed + self.tally.crane_failed + self.tally.causes.get("SocketTimeoutError", 0)
        return self.recovered is not None and (self.behind or self.tally.wrong == 0) and not (self.harmless and lost)


Trouble = Callable[[Stage, float], AbstractAsyncContextManager[Loader]]
"""Makes a context in which the toxic holds for about so many seconds; its value is the loader."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A toxic."""

    where: str
    name: str
    trouble: Trouble
    behind: bool = False
    harmless: bool = False


SCENARIOS: list[Scenario] = []


def scenario(where: str, name: str, *, behind: bool = False, harmless: bool = False) -> Callable[[Trouble], Trouble]:
    """Register a toxic."""

    def register(trouble: Trouble) -> Trouble:
        SCENARIOS.append(Scenario(where, name, trouble, behind, harmless))
        return trouble

    return register


async def run(stage: Stage, found: Scenario, seconds: float) -> Result:
    """Load before, during and after the toxic."""
    async with found.trouble(stage, seconds) as loader:
        tally = loader.tally
        recovered = await _until_all_is_pulled(loader)
    return Result(found.where, found.name, tally, recovered, found.behind, found.harmless)


async def _until_all_is_pulled(loader: Loader) -> float | None:
    began = time.monotonic()
    while time.monotonic() - began < RECOVERY_SECONDS:
        if (await loader.pull_each()).failed == 0:
            return time.monotonic() - began
    return None


class NotMet(Exception):
    """The load did not meet the fault: nothing was tested."""


def require(met: bool, what: str) -> None:
    """Raises NotMet."""
    if not met:
        raise NotMet(what)


async def until(found: Callable[[], Awaitable[bool]], what: str, seconds: float = RECOVERY_SECONDS) -> None:
    """Wait for it. Raises NotMet."""
    end = time.monotonic() + seconds
    while not await found():
        require(time.monotonic() < end, what)
        await asyncio.sleep(0.02)


def on_link(link: Callable[[Stage], Link], toxic: Toxic, name: str = "upstream") -> Trouble:
    @contextlib.asynccontextmanager
    async def trouble(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
        loader = stage.loader(name)
        async with loader.running():
            await asyncio.sleep(seconds / 4)
            async with link(stage).poisoned(toxic):
                await asyncio.sleep(seconds / 2)
            await asyncio.sleep(seconds / 4)
        yield loader

    return trouble


async def while_loaded(loader: Loader, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    async with loader.running():
        await asyncio.sleep(seconds / 4)
        await work()
        await asyncio.sleep(seconds / 4)


@contextlib.asynccontextmanager
async def up(*processes: Process) -> AsyncIterator[Process]:
    """They run, and are ended; the first of them."""
    try:
        await asyncio.gather(*(process.start() for process in processes))
        yield processes[0]
    finally:
        await asyncio.gather(*(process.end(signal.SIGKILL) for process in processes))
