"""Blobs on the disk: fetched once by all who want the same, never a wrong or repeated byte, never past a License."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pullgate.oci.digest import digest_of
from pullgate_proxy.cache.blobs.ask import Ask, Place
from tests.support.gate import APP, Gate, basic, license_, registry, running
from tests.support.images import Image, image, large_image
from tests.support.upstreams import ScriptedRegistry, faults

MIB = 2**20
LARGE = large_image(24 * MIB)
SIZE = next(iter(LARGE.streams.values())).size


@dataclass(frozen=True, slots=True)
class World:
    gate: Gate
    upstream: ScriptedRegistry
    image: Image
    cache: Path

    @property
    def digest(self) -> str:
        return next(iter(self.image.streams))

    @property
    def file(self) -> Path:
        name = self.digest.partition(":")[2]
        return self.cache / "blobs" / "sha256" / name[:2] / name

    @property
    def incoming(self) -> list[str]:
        return os.listdir(self.cache / "incoming")

    def path(self, repository: str = "my-org/large", digest: str | None = None) -> str:
        return f"/v2/proxy/{APP}/upstream/{repository}/blobs/{digest or self.digest}"

    def asked(self, method: str = "GET") -> int:
        return len(self.upstream.received(method, "/blobs/"))

    async def pull(
        self, *, path: str | None = None, license_name: str = "acme", pause: float = 0, settled: bool = True
    ) -> tuple[str, str]:
        """(digest of the bytes that a client received, X-Pullgate-Cache). Raises aiohttp's error if it was aborted.

        It returns after a fetched blob is in its place, unless `settled` is False: no other may come in then.
        """
        headers = {"Authorization": basic("acme", self.gate.key(license_name))}
        received = hashlib.sha256()
        async with aiohttp.ClientSession() as session:
            async with session.get(self.gate.url + (path or self.path()), headers=headers) as response:
                assert response.status == 200, await response.text()
                async for chunk in response.content.iter_any():
                    received.update(chunk)
                    await asyncio.sleep(pause)
                result = response.headers.get("X-Pullgate-Cache", "")
        if result == "miss" and settled:
            # Until its fetch is over a reader gets the file that came in, whatever stands in its place.
            await self.gate.until(lambda: not self.incoming and not len(blobs(self).fetches))
        return f"sha256:{received.hexdigest()}", result

    def place(self, repository: str = "my-org/large") -> Place:
        proxy = self.gate.proxy
        facts = proxy.snapshot.registry_named(APP, "upstream")
        assert facts is not None
        current = functools.partial(proxy._upstreams.get, facts)
        current()
        return Ask(proxy._upstreams.where(facts), repository, self.digest, current).place

    async def part(self, wanted: str, **headers: str) -> tuple[int, bytes, Any]:
        answer = await self.gate.get(self.path(), self.gate.key("acme"), headers={"Range": wanted, **headers})
        return answer.status, answer.body, answer.headers


@contextlib.asynccontextmanager
async def world_of(directory: Path, *, held: Image = LARGE, cache: Any = None, **settings: Any) -> AsyncIterator[World]:
    async with ScriptedRegistry() as upstream:
        await upstream.push("my-org/large", "1", held)
        documents = [registry("upstream", upstream.host, cache=cache or {}), license_("acme")]
        folder = directory / "cache"
        settings = {"idle_timeout": 1.0, "first_byte_timeout": 1.0, "blob_cache": folder, **settings}
        async with running(directory / "resources", *documents, **settings) as gate:
            yield World(gate, upstream, held, folder)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(tmp_path) as made:
        yield made


# --- once from the upstream, then from the disk


async def test_a_blob_comes_from_the_upstream_once_and_from_the_disk_afterwards(world: World) -> None:
    assert await world.pull() == (world.digest, "miss")
    assert await world.pull() == (world.digest, "hit")
    assert world.asked() == 1
    assert world.file.stat().st_size == SIZE
    assert world.incoming == []
    assert [record["cache"] for record in world.gate.records()] == ["miss", "hit"]
    assert [record["bytes"] for record in world.gate.records()] == [SIZE, SIZE]


async def test_any_number_of_clients_share_one_fetch(world: World) -> None:
    pulled = await asyncio.gather(*(world.pull() for _ in range(40)))
    assert {digest for digest, _ in pulled} == {world.digest}
    assert sorted({result for _, result in pulled}) == ["miss", "shared"]
    assert world.asked() == 1
    metrics = world.gate.proxy.metrics.registry
    assert metrics.get_sample_value("pullgate_blob_fetched_bytes_total", {"source": "upstream"}) == SIZE


async def test_a_late_client_reads_what_is_there_and_then_follows(world: World) -> None:
    gate = asyncio.Event()
    world.upstream.on("GET", "/blobs/", faults.hang_after(SIZE // 2, gate), times=1)
    first = asyncio.create_task(world.pull())
    await until_fetched(world, SIZE // 3)
    headers = {"Authorization": basic("acme", world.gate.key("acme"))}
    async with world.gate.session.get(world.gate.url + world.path(), headers=headers) as response:
        received = hashlib.sha256(await response.content.readexactly(SIZE // 4))
        gate.set()
        while chunk := await response.content.readany():
            received.update(chunk)
    assert received.hexdigest() == world.digest.removeprefix("sha256:")
    assert (await first)[0] == world.digest
    assert world.asked() == 1


async def test_the_first_clients_leaving_does_not_stop_the_others(world: World) -> None:
    gate = asyncio.Event()
    world.upstream.on("GET", "/blobs/", faults.hang_after(SIZE // 2, gate), times=1)
    first = asyncio.create_task(world.pull())
    await until_fetched(world, MIB)
    others = [asyncio.create_task(world.pull()) for _ in range(5)]
    await asyncio.sleep(0.1)
    first.cancel()
    gate.set()
    assert {digest for digest, _ in await asyncio.gather(*others)} == {world.digest}
    assert world.asked() == 1


async def test_a_slow_client_slows_nobody(world: World) -> None:
    slow = asyncio.create_task(world.pull(pause=0.05))
    await until_fetched(world, MIB)
    assert (await world.pull())[0] == world.digest
    assert not slow.done()
    assert (await slow)[0] == world.digest


@pytest.mark.parametrize(
    "broken",
    [faults.close_after(5_000_000), faults.reset_after(5_000_000), faults.hang_after(5_000_000)],
    ids=["closed", "reset", "stalled"],
)
async def test_a_fetch_that_breaks_resumes_by_range_and_no_client_notices(world: World, broken: Any) -> None:
    world.upstream.on("GET", "/blobs/", broken, times=2)
    pulled = await asyncio.gather(*(world.pull() for _ in range(5)))
    assert {digest for digest, _ in pulled} == {world.digest}
    assert any("Range" in request.headers for request in world.upstream.received("GET", "/blobs/"))


async def test_a_fetch_that_cannot_be_right_is_brought_to_an_end_for_nobody_and_not_kept(world: World) -> None:
    world.upstream.on("GET", "/blobs/", faults.corrupt(SIZE // 2), times=1)
    pulled = await asyncio.gather(*(world.pull() for _ in range(5)), return_exceptions=True)
    assert all(isinstance(each, aiohttp.ClientPayloadError) for each in pulled), pulled
    assert not world.file.exists()
    assert world.incoming == []
    assert await world.pull() == (world.digest, "miss")


async def test_a_refusal_before_the_first_byte_is_every_waiting_clients(world: World) -> None:
    world.upstream.on("GET", "/blobs/", faults.refuse(403, "DENIED"))
    answers = await asyncio.gather(*(world.gate.get(world.path(), world.gate.key("acme")) for _ in range(5)))
    assert {answer.fault for answer in answers} == {"UpstreamForbidden"}
    assert world.asked() == 1


async def test_a_fetch_that_nobody_reads_is_given_up(world: World) -> None:
    blobs(world).fetches.linger = 0.2
    world.upstream.on("GET", "/blobs/", faults.hang_after(MIB, asyncio.Event()))
    task = asyncio.create_task(world.pull())
    await until_fetched(world, MIB // 2)
    task.cancel()
    await world.gate.until(lambda: not len(blobs(world).fetches))
    await world.gate.until(lambda: not world.incoming)
    await world.gate.until(lambda: world.upstream.open_connections == 0)


# --- ranges


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "not kept"])
@pytest.mark.parametrize(
    ("wanted", "first", "end"),
    [("bytes=0-0", 0, 1), ("bytes=5-", 5, SIZE), (f"bytes={SIZE - 3}-{SIZE * 2}", SIZE - 3, SIZE), ("bytes=-7", -7, 0)],
)
async def test_a_part_is_the_part_that_was_asked_for(
    world: World, kept: bool, wanted: str, first: int, end: int
) -> None:
    whole = (await world.gate.get(world.path(), world.gate.key("acme"))).body if kept else await content(world)
    status, body, headers = await world.part(wanted)
    expected = whole[first:end] if first >= 0 else whole[first:]
    begin = first if first >= 0 else SIZE + first
    assert (status, digest_of(body)) == (206, digest_of(expected))
    assert headers["Content-Range"] == f"bytes {begin}-{begin + len(expected) - 1}/{SIZE}"


async def test_a_part_beyond_the_end_is_416_and_nonsense_is_ignored(world: World) -> None:
    await world.pull()
    status, _, headers = await world.part(f"bytes={SIZE}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{SIZE}")
    for nonsense in ("bytes=9-3", "lines=0-5", "bytes=0-1,a-5", "bytes=-"):
        status, body, _ = await world.part(nonsense)
        assert (status, len(body)) == (200, SIZE)


async def test_a_part_of_another_version_is_the_whole(world: World) -> None:
    await world.pull()
    status, body, headers = await world.part("bytes=5-9", **{"If-Range": '"something-else"'})
    assert (status, len(body)) == (200, SIZE)
    assert (await world.part("bytes=5-9", **{"If-Range": headers["ETag"]}))[0] == 206


async def test_a_head_tells_size_and_digest_from_the_disk_and_begins_no_fetch(world: World) -> None:
    answer = await world.gate.ask("HEAD", world.path(), world.gate.key("acme"))
    assert (answer.status, answer.headers["Content-Length"], world.incoming) == (200, str(SIZE), [])
    await world.pull()
    answer = await world.gate.ask("HEAD", world.path(), world.gate.key("acme"))
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(SIZE))
    assert answer.headers["X-Pullgate-Cache"] == "hit"
    assert answer.headers["Docker-Content-Digest"] == world.digest
    assert world.asked("HEAD") == 1


async def test_a_client_that_resumes_joins_the_fetch_that_goes_on(world: World) -> None:
    gate = asyncio.Event()
    world.upstream.on("GET", "/blobs/", faults.hang_after(SIZE // 2, gate), times=1)
    first = asyncio.create_task(world.pull())
    await until_fetched(world, SIZE // 3)
    first.cancel()
    rest = asyncio.create_task(world.part(f"bytes={SIZE // 4}-"))
    await asyncio.sleep(0.1)
    gate.set()
    status, body, _ = await rest
    assert (status, body) == (206, (await content(world))[SIZE // 4 :])
    assert world.asked() == 2  # the second is the test's own look at the content


# --- whose blob is it?


async def test_a_blob_on_the_disk_is_served_only_where_its_own_upstream_has_it(world: World) -> None:
    await world.pull()
    await world.upstream.push("my-org/other", "1", image("other"))
    answer = await world.gate.get(world.path("my-org/other"), world.gate.key("acme"))
    assert (answer.status, answer.fault) == (404, "BlobUnknown")
    await world.upstream.push("my-org/other", "2", world.image)
    assert await world.pull(path=world.path("my-org/other")) == (world.digest, "miss")
    assert await world.pull(path=world.path("my-org/other")) == (world.digest, "hit")
    assert await world.pull() == (world.digest, "hit")
    assert world.asked() == 3  # the blob, the 404, and the blob again from the other repository
    assert blobs(world).keeper.size == SIZE


async def test_a_blob_that_comes_in_is_followed_only_where_its_own_upstream_has_it(world: World) -> None:
    gate = asyncio.Event()
    await world.upstream.push("my-org/other", "1", image("other"))
    world.upstream.on("GET", "/blobs/", faults.hang_after(SIZE // 2, gate), times=1)
    first = asyncio.create_task(world.pull())
    await until_fetched(world, MIB)
    answer = await world.gate.get(world.path("my-org/other"), world.gate.key("acme"))
    assert answer.fault == "BlobUnknown"
    gate.set()
    assert (await first)[0] == world.digest


async def test_a_repository_whose_fetch_stalls_holds_up_no_other_that_has_the_blob_too(tmp_path: Path) -> None:
    async with world_of(tmp_path, idle_timeout=60.0) as world:
        await world.upstream.push("my-org/other", "1", world.image)
        await world.pull(path=world.path("my-org/other"))
        world.file.unlink()
        stalled = asyncio.Event()
        world.upstream.on("GET", "/my-org/large/blobs/", faults.hang_after(SIZE // 2, stalled), times=1)
        first = asyncio.create_task(world.pull())
        await until_fetched(world, MIB)
        assert await world.pull(path=world.path("my-org/other"), settled=False) == (world.digest, "miss")
        assert not first.done()
        stalled.set()
        assert await first == (world.digest, "miss")
        assert os.listdir(world.file.parent) == [world.file.name]
        await world.gate.until(lambda: blobs(world).keeper.size == SIZE)  # no longer reserved for the second file


async def test_what_the_first_repository_is_refused_the_second_may_still_have(world: World) -> None:
    await world.upstream.push("my-org/other", "1", world.image)
    world.upstream.on("GET", "/my-org/large/blobs/", faults.refuse(403, "DENIED"))
    one, other = await asyncio.gather(
        world.gate.get(world.path(), world.gate.key("acme")),
        world.gate.get(world.path("my-org/other"), world.gate.key("acme")),
    )
    assert one.fault == "UpstreamForbidden"
    assert (other.status, digest_of(other.body)) == (200, world.digest)


async def test_the_license_is_asked_at_each_hit(world: World) -> None:
    await world.pull()
    await world.gate.apply(license_("acme", suspended={"reason": "invoice 77 unpaid"}))
    await world.gate.until_status(world.path(), world.gate.key("acme"), 403)
    await world.gate.apply(license_("acme", {"repositories": ["my-org/other"]}))
    await world.gate.until(lambda: True)
    answer = await world.gate.until_status(world.path(), world.gate.key("acme"), 403)
    assert answer.fault in {"NotEntitled", "LicenseSuspended"}


async def test_an_upstream_that_is_down_is_stood_in_for_and_it_is_told(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        await world.pull()
        forget_in(world, 3601)
        world.upstream.on("GET|HEAD", "/blobs/", faults.answer(500))
        assert await world.pull() == (world.digest, "stale")
        assert 'pullgate_blob_cache_total{result="stale"} 1.0' in world.gate.proxy.metrics.render().decode()
        forget_in(world, 24 * 3600)
        assert (await world.gate.get(world.path(), world.gate.key("acme"))).fault == "UpstreamError"


async def test_a_blob_that_is_gone_upstream_is_not_served_after_an_hour(world: World) -> None:
    await world.pull()
    forget_in(world, 3601)
    world.upstream.on("GET|HEAD", "/blobs/", faults.answer(404))
    assert (await world.gate.get(world.path(), world.gate.key("acme"))).fault == "BlobUnknown"


async def test_a_test_as_a_customer_goes_upstream_whatever_is_kept(world: World) -> None:
    await world.pull()
    answer = await world.gate.get(world.path(), world.gate.key("acme"), headers={"Cache-Control": "no-cache"})
    assert (answer.status, "X-Pullgate-Cache" in answer.headers) == (200, False)
    assert world.asked() == 2


async def test_a_registry_that_wants_no_cache_has_none(tmp_path: Path) -> None:
    async with world_of(tmp_path, cache={"blobs": False}) as world:
        assert await world.pull() == (world.digest, "")
        assert await world.pull() == (world.digest, "")
        assert world.asked() == 2
        assert not world.file.exists()


# --- ahead of time


async def test_with_prefetch_a_manifests_blobs_are_fetched_with_it_and_without_it_not(tmp_path: Path) -> None:
    for number, prefetch in enumerate((True, False)):
        async with world_of(tmp_path / str(number), cache={"prefetch": prefetch}) as world:
            manifest = f"/v2/proxy/{APP}/upstream/my-org/large/manifests/1"
            assert (await world.gate.get(manifest, world.gate.key("acme"))).status == 200
            if not prefetch:
                await asyncio.sleep(0.3)
                assert world.asked() == 0
                continue
            await world.gate.until(world.file.exists)
            assert await world.pull() == (world.digest, "hit")
            assert world.asked() == len(world.image.blobs) + len(world.image.streams)


# --- what is on the disk


@pytest.mark.parametrize("place", [0, SIZE // 2, SIZE - 1])
async def test_a_file_that_was_changed_is_removed_and_fetched_again(world: World, place: int) -> None:
    await world.pull()
    flip(world.file, place)
    assert await world.pull() == (world.digest, "miss")
    assert await world.pull() == (world.digest, "hit")
    assert world.asked() == 2
    assert 'pullgate_blob_cache_removals_total{why="damaged"} 1.0' in world.gate.proxy.metrics.render().decode()


async def test_a_file_that_was_cut_is_fetched_again(world: World) -> None:
    await world.pull()
    world.file.chmod(0o600)
    os.truncate(world.file, SIZE - 5)
    assert await world.pull() == (world.digest, "miss")


async def test_a_byte_that_the_disk_changed_by_itself_is_found_when_a_client_asks_again(world: World) -> None:
    await world.pull()
    for asked in (2, 3):
        stat = world.file.stat()
        flip(world.file, 77)
        os.utime(world.file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as a disk does: nobody wrote to it
        assert await world.pull() == (world.digest, "miss")
        assert world.asked() == asked


@contextlib.asynccontextmanager
async def being_sent(world: World, **headers: str) -> AsyncIterator[tuple[aiohttp.ClientResponse, bytes]]:
    """An answer from the disk that is still being sent, and its first MiB; `headers` are the client's."""
    await world.pull()
    headers |= {"Authorization": basic("acme", world.gate.key("acme"))}
    async with aiohttp.ClientSession() as session:
        async with session.get(world.gate.url + world.path(), headers=headers) as response:
            assert response.headers["X-Pullgate-Cache"] == "hit"
            yield response, await response.content.readexactly(MIB)


async def test_a_file_that_is_written_to_while_it_is_sent_is_brought_to_an_end_for_nobody(world: World) -> None:
    async with being_sent(world) as (response, _):
        flip(world.file, SIZE - 100)
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert await world.pull() == (world.digest, "miss")


async def test_a_file_that_is_written_to_and_still_right_is_sent_to_its_end(world: World) -> None:
    async with being_sent(world) as (response, begun):
        world.file.touch()
        assert digest_of(begun + await response.read()) == world.digest
    assert await world.pull() == (world.digest, "hit")


@pytest.mark.parametrize("left", [0, SIZE // 2, SIZE - 1])
async def test_a_file_that_is_cut_while_it_is_sent_costs_no_pull(world: World, left: int) -> None:
    async with being_sent(world) as (response, begun):
        os.truncate(world.file, left)
        assert digest_of(begun + await response.read()) == world.digest
    assert await world.pull() == (world.digest, "miss")


@pytest.mark.parametrize("left", [0, SIZE // 2])
async def test_what_the_upstream_sends_for_a_file_that_was_cut_is_verified(world: World, left: int) -> None:
    right = await content(world)
    wrong = right[:-100] + bytes([right[-100] ^ 1]) + right[-99:]
    async with being_sent(world) as (response, _):
        os.truncate(world.file, left)
        world.upstream.on("GET", "/blobs/", faults.body(wrong))
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_part_of_a_file_that_was_cut_is_not_gone_on_with_from_another_place(world: World) -> None:
    async with being_sent(world, Range=f"bytes=0-{SIZE - 2}") as (response, _):
        os.truncate(world.file, SIZE // 2)
        world.upstream.on("GET", "/blobs/", faults.range_ignored())
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_directory_that_somebody_cleared_is_used_again(world: World) -> None:
    await world.pull()
    for folder in ("blobs", "incoming"):
        shutil.rmtree(world.cache / folder)
    assert await world.pull() == (world.digest, "miss")
    assert await world.pull() == (world.digest, "hit")
    assert blobs(world).keeper.problem == ""


async def test_what_an_earlier_run_left_is_served_once_it_was_verified(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        await world.pull()
        await world.gate.proxy.stop()
        world.gate.proxy = await world.gate.start_proxy()
        await world.gate.until(lambda: world.gate.proxy.snapshot.synced)
        await world.gate.until(lambda: blobs(world).keeper.size == SIZE)
        assert await world.pull() == (world.digest, "revalidated")
        assert world.asked() == 1
        await world.gate.proxy.stop()
        flip(world.file, 5)
        (world.cache / "incoming" / "sha256-left-behind").write_bytes(b"torn")
        world.gate.proxy = await world.gate.start_proxy()
        await world.gate.until(lambda: world.gate.proxy.snapshot.synced)
        assert world.incoming == []
        assert await world.pull() == (world.digest, "miss")


async def test_two_proxies_do_not_share_a_directory_and_both_serve(world: World) -> None:
    other = await world.gate.start_proxy()
    await world.gate.until(lambda: other.snapshot.synced and bool(other.snapshot.signing_keys.keys))
    answer = await world.gate.ask("GET", world.path(), world.gate.key("acme"), proxy=other)
    assert (answer.status, digest_of(answer.body)) == (200, world.digest)
    assert other.caches.blobs is not None
    assert "another proxy uses it" in other.caches.blobs.keeper.problem
    assert "pullgate_blob_cache_usable 0.0" in other.metrics.render().decode()


async def test_the_bounds_hold_and_what_is_read_most_stays(tmp_path: Path) -> None:
    async with world_of(tmp_path, held=large_image(2 * MIB), blob_cache_size=8 * MIB, blob_cache_files=6) as world:
        for _ in range(3):
            await world.pull()
        for number in range(8):
            other = image(f"other {number}", layers=1, layer_size=2 * MIB)
            await world.upstream.push("my-org/large", f"other-{number}", other)
            digest = max(other.blobs, key=lambda d: len(other.blobs[d]))
            assert await world.pull(path=world.path(digest=digest)) == (digest, "miss")
            await world.gate.until(lambda: not world.incoming)
            folders = (world.cache / "blobs", world.cache / "incoming")
            kept = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
            assert sum(path.stat().st_size for path in kept) <= 8 * MIB
            assert len(kept) <= 6
        assert await world.pull() == (world.digest, "hit")


async def test_a_blob_larger_than_the_cache_is_streamed(tmp_path: Path) -> None:
    async with world_of(tmp_path, blob_cache_size=8 * MIB) as world:
        assert await world.pull() == (world.digest, "")
        assert await world.pull() == (world.digest, "")
        assert world.incoming == []


async def test_a_blob_that_found_no_room_is_kept_soon_after_there_is_some(tmp_path: Path) -> None:
    async with world_of(tmp_path, held=large_image(4 * MIB), blob_cache_size=9 * MIB) as world:
        for number in range(2):
            other = image(f"other {number}", layers=1, layer_size=4_000_000)
            await world.upstream.push("my-org/large", f"other-{number}", other)
            digest = max(other.blobs, key=lambda d: len(other.blobs[d]))
            assert await world.pull(path=world.path(digest=digest)) == (digest, "miss")
            blobs(world).keeper.pin(digest)
        assert await world.pull() == (world.digest, "")
        blobs(world).keeper.unpin(digest)
        async with asyncio.timeout(15):
            while (await world.pull())[1] != "miss":
                await asyncio.sleep(0.5)
        assert await world.pull() == (world.digest, "hit")


async def test_a_file_that_is_removed_under_us_is_fetched_again(world: World) -> None:
    await world.pull()
    world.file.unlink()
    assert await world.pull() == (world.digest, "miss")
    assert blobs(world).keeper.size == SIZE


# --- helpers of this page


def blobs(world: World) -> Any:
    assert world.gate.proxy.caches.blobs is not None
    return world.gate.proxy.caches.blobs


async def until_fetched(world: World, count: int) -> None:
    def reached() -> bool:
        flight = blobs(world).fetches.get(world.place())
        return flight is not None and flight.written >= count

    await world.gate.until(reached)


async def content(world: World) -> bytes:
    async with world.gate.session.get(f"{world.upstream.url}/v2/my-org/large/blobs/{world.digest}") as response:
        return await response.read()


def flip(path: Path, place: int) -> None:
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))


def forget_in(world: World, seconds: float) -> None:
    """Age what the proxy knows of repositories by `seconds`."""
    for places in blobs(world)._places._told._apps.values():
        for place, (told, cost) in places.items():
            places[place] = told - seconds, cost
