"""A disk that fails costs the cache and no pull, says so, and is used again once it is well."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.proxy.test_blob_cache import MIB, SIZE, blobs, until_fetched, world_of
from tests.support.images import image, large_image
from tests.support.upstreams import faults


def mount(*words: str | Path) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 40 MiB; the cache is on it."""
    cache = tmp_path / "cache"
    cache.mkdir()
    mount("-t", "tmpfs", "-o", "size=40m", "tmpfs", cache)
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(cache)], check=True)


async def test_a_disk_that_fills_while_a_blob_is_written_breaks_no_pull(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world_of(small_disk) as world:
        gate = asyncio.Event()
        world.upstream.on("GET", "/blobs/", faults.hang_after(SIZE // 2, gate), times=1)
        pulls = [asyncio.create_task(world.pull()) for _ in range(4)]
        await until_fetched(world, SIZE // 3)
        with contextlib.suppress(OSError), (world.cache / "somebody-elses").open("wb") as file:
            for _ in range(64):
                file.write(b"x" * MIB)
                file.flush()
        with caplog.at_level(logging.WARNING):
            gate.set()
            assert {digest for digest, _ in await asyncio.gather(*pulls)} == {world.digest}
        assert "No space left on device" in caplog.text
        assert "No space left on device" in blobs(world).keeper.problem
        assert world.incoming == []
        assert await world.pull() == (world.digest, "")
        (world.cache / "somebody-elses").unlink()
        blobs(world).keeper._again_at = 0.0
        assert await world.pull() == (world.digest, "miss")
        assert blobs(world).keeper.problem == ""
        assert await world.pull() == (world.digest, "hit")


async def test_a_full_disk_makes_room_of_what_is_kept_before_it_gives_up(small_disk: Path) -> None:
    async with world_of(small_disk) as world:
        await world.pull()
        with (world.cache / "somebody-elses").open("wb") as file:
            file.write(bytes(10 * MIB))
        other = image("other", layers=1, layer_size=12 * MIB)
        await world.upstream.push("my-org/large", "2", other)
        digest = max(other.blobs, key=lambda d: len(other.blobs[d]))
        assert await world.pull(path=world.path(digest=digest)) == (digest, "miss")
        assert not world.file.exists()


async def test_a_disk_that_is_read_only_serves_what_is_there_and_streams_the_rest(small_disk: Path) -> None:
    async with world_of(small_disk) as world:
        await world.pull()
        mount("-o", "remount,ro", world.cache)
        assert await world.pull() == (world.digest, "hit")
        other = image("other", layers=1, layer_size=MIB)
        await world.upstream.push("my-org/large", "2", other)
        digest = max(other.blobs, key=lambda d: len(other.blobs[d]))
        assert await world.pull(path=world.path(digest=digest)) == (digest, "")
        assert "Read-only file system" in blobs(world).keeper.problem
        mount("-o", "remount,rw", world.cache)
        blobs(world).keeper._again_at = 0.0
        assert await world.pull(path=world.path(digest=digest)) == (digest, "miss")


async def test_what_an_earlier_try_left_on_a_disk_that_failed_is_in_nobodys_way(small_disk: Path) -> None:
    async with world_of(small_disk) as world:
        blobs(world).keeper.directory.incoming(world.place()).write_bytes(b"begun")
        assert await world.pull() == (world.digest, "miss")
        assert blobs(world).keeper.problem == ""


async def test_what_could_not_be_removed_while_the_disk_was_read_only_still_counts(small_disk: Path) -> None:
    async with world_of(small_disk, blob_cache_size=SIZE + 8 * MIB, held=large_image(12 * MIB)) as world:
        await world.pull()
        others = [image(f"other {number}", layers=1, layer_size=12 * MIB) for number in range(3)]
        digests = []
        for number, other in enumerate(others):
            await world.upstream.push("my-org/large", f"other-{number}", other)
            digests.append(max(other.blobs, key=lambda d: len(other.blobs[d])))
        assert await world.pull(path=world.path(digest=digests[0])) == (digests[0], "miss")
        mount("-o", "remount,ro", world.cache)
        assert await world.pull(path=world.path(digest=digests[1])) == (digests[1], "")
        mount("-o", "remount,rw", world.cache)
        assert blobs(world).keeper.files == 2
        blobs(world).keeper._again_at = 0.0
        assert await world.pull(path=world.path(digest=digests[2])) == (digests[2], "miss")

        def all_is_counted() -> bool:
            kept = [path.stat().st_size for path in (world.cache / "blobs").rglob("*") if path.is_file()]
            return bool(blobs(world).keeper.size == sum(kept))

        await world.gate.until(all_is_counted)


async def test_a_proxy_whose_disk_is_unusable_at_its_start_serves_and_tries_again(small_disk: Path) -> None:
    mount("-o", "remount,ro", small_disk / "cache")
    async with world_of(small_disk) as world:
        assert await world.pull() == (world.digest, "")
        mount("-o", "remount,rw", world.cache)
        blobs(world).keeper._again_at = 0.0
        assert await world.pull() == (world.digest, "miss")
