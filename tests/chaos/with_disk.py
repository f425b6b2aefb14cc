"""The ways in which the world fails a proxy that keeps blobs: its upstream, its end in mid-fetch, its disk.

The cache has not room for all images, so that blobs are evicted and fetched again all the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from tests.chaos.links import Toxic
from tests.chaos.loader import Loader
from tests.chaos.scenarios import NotMet, Trouble, scenario, until, up, while_loaded
from tests.chaos.stage import Process, Stage

REMOVALS = "pullgate_blob_cache_removals_total"
FETCHED = "pullgate_blob_fetched_bytes_total"
USABLE = "pullgate_blob_cache_usable"
SMALL_DISK = "3m"
"""Less than the bound of the cache."""
LONGEST_PAUSE = 60.0
"""Seconds after which a disk that failed is tried again at the latest."""
BETWEEN_SPOILT_FILES = 0.03
"""Seconds."""


def _through_the_cache(toxic: Toxic) -> Trouble:
    @contextlib.asynccontextmanager
    async def trouble(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
        loader = stage.loader(base=stage.cached.base)
        evicted = await stage.cached.counted(REMOVALS, why="evicted")

        async def work() -> None:
            fetched = await stage.cached.counted(FETCHED)

            async def more_was_fetched() -> bool:
                return await stage.cached.counted(FETCHED) > fetched

            async with stage.upstream.poisoned(toxic):
                await until(more_was_fetched, "nothing was fetched meanwhile")
                await asyncio.sleep(seconds / 2)
            await until(more_was_evicted, "blobs stay in the cache")

        async def more_was_evicted() -> bool:
            return await stage.cached.counted(REMOVALS, why="evicted") > evicted

        await while_loaded(loader, seconds, work)
        yield loader

    return trouble


for words, toxic in (
    ("connections end after 200 kB", Toxic(end_after=200_000)),
    ("connections are reset after 200 kB", Toxic(end_after=200_000, reset=True)),
    ("one bit is wrong in every 100 kB", Toxic(flip_every=100_000)),
    ("hangs after 100 kB", Toxic(hang_after=100_000)),
):
    scenario("upstream, cached", words)(_through_the_cache(toxic))


@scenario("proxy, cached", "killed by SIGKILL in mid-fetch and started again on what it left")
@contextlib.asynccontextmanager
async def _killed(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
    process = stage.cached
    loader = stage.loader(base=process.base)

    async def fetches() -> bool:
        with contextlib.suppress(FileNotFoundError):
            return any(file.stat().st_size for file in process.blobs("incoming"))
        return False

    async def work() -> None:
        end = time.monotonic() + seconds / 2
        async with stage.upstream.poisoned(Toxic(bytes_per_second=2_000_000)):
            while True:
                await until(fetches, "nothing is fetched")
                await process.end(signal.SIGKILL)
                await process.start()
                if time.monotonic() > end:
                    break

    await while_loaded(loader, seconds, work)
    yield loader


# --- its disk ---


def _spoil(file: Path, how: str) -> None:
    """Damage `file` in one step; only "emptied" changes it in place.

    A byte that changes in place during sendfile also changes in the socket's buffers, which the proxy cannot detect.
    So this writes another file under the same name.
    """
    new = file.parent.parent.parent / "spoilt"
    data = bytearray(file.read_bytes())
    match how:
        case "removed":
            file.unlink()
            return
        case "emptied":
            os.truncate(file, 0)
            return
        case "flipped":
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        case "cut":
            del data[len(data) // 2 :]
        case _:
            data = bytearray(os.urandom(len(data)))
    new.write_bytes(data)
    new.replace(file)


@scenario("disk", "its files are flipped, cut, emptied, removed, and filled with garbage", harmless=True)
@contextlib.asynccontextmanager
async def _spoilt(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
    process = stage.cached
    loader = stage.loader(base=process.base)
    before = await process.counted(REMOVALS, why="damaged")

    async def go_on_spoiling() -> None:
        for how in itertools.cycle(("flipped", "cut", "emptied", "removed", "garbage")):
            if files := process.blobs():
                with contextlib.suppress(FileNotFoundError, ValueError):  # evicted, or emptied before
                    await asyncio.to_thread(_spoil, random.choice(files), how)
            await asyncio.sleep(BETWEEN_SPOILT_FILES)

    async def one_was_met() -> bool:
        return await process.counted(REMOVALS, why="damaged") > before

    async def work() -> None:
        spoiling = asyncio.create_task(go_on_spoiling())
        try:
            await until(one_was_met, "no damaged file was met")
            await asyncio.sleep(seconds / 2)
        finally:
            spoiling.cancel()
            await asyncio.gather(spoiling, return_exceptions=True)

    await while_loaded(loader, seconds, work)
    yield loader


@contextlib.asynccontextmanager
async def _on_small_disk(
    stage: Stage, seconds: float, failing: Callable[[Process], AbstractAsyncContextManager[None]]
) -> AsyncIterator[Loader]:
    """A proxy whose disk is `failing`, and is used again afterwards."""
    process = await stage.lasting("small-disk", lambda: up(stage.caching("small-disk", disk=SMALL_DISK)))
    loader = stage.loader(base=process.base)

    async def has_failed() -> bool:
        return await process.counted(USABLE) == 0

    async def is_used_again() -> bool:
        return not await has_failed()

    async def work() -> None:
        async with failing(process):
            await until(has_failed, "the disk did not fail")
            await asyncio.sleep(seconds / 2)
        await until(is_used_again, "the disk is not used again", LONGEST_PAUSE)

    await while_loaded(loader, seconds, work)
    yield loader


@scenario("disk", "full: somebody else takes what room there is", harmless=True)
@contextlib.asynccontextmanager
async def _full(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
    def fill(file: Path) -> None:
        with contextlib.suppress(OSError), file.open("ab", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass

    async def go_on_filling(file: Path) -> None:
        while True:
            await asyncio.to_thread(fill, file)
            await asyncio.sleep(0.01)

    @contextlib.asynccontextmanager
    async def filled(process: Process) -> AsyncIterator[None]:
        file = process.cache / "somebody-elses"
        filling = asyncio.create_task(go_on_filling(file))
        try:
            yield
        finally:
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)
            file.unlink()

    async with _on_small_disk(stage, seconds, filled) as loader:
        yield loader


@scenario("disk", "read-only", harmless=True)
@contextlib.asynccontextmanager
async def _read_only(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
    async def remount(process: Process, how: str) -> None:
        """The kernel refuses while a file is being written: it is tried until none is."""
        inside = ["nsenter", "--mount", f"--target={process.pid}"]
        mount = [*inside, "mount", "-o", f"remount,{how}", str(process.cache_path)]
        for _ in range(500):
            made = await asyncio.create_subprocess_exec(*mount, stderr=asyncio.subprocess.DEVNULL)
            if await made.wait() == 0:
                return
        raise NotMet(f"the disk cannot be mounted {how}")

    @contextlib.asynccontextmanager
    async def read_only(process: Process) -> AsyncIterator[None]:
        await remount(process, "ro")
        yield
        await remount(process, "rw")

    async with _on_small_disk(stage, seconds, read_only) as loader:
        yield loader
