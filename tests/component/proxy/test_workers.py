"""Several workers on one port are one proxy: one watch, one disk, one count; and one that dies is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pullgate.oci.digest import digest_of
from pullgate.upstream.client import Upstream
from pullgate_proxy.cache.ask import Ask, Place
from pullgate_proxy.cache.blobs import BlobCache
from pullgate_proxy.cache.disk import BlobDir
from pullgate_proxy.cache.held import FilePart
from pullgate_proxy.cache.keeper import Bounds, Keeper
from pullgate_proxy.cache.where import Where
from pullgate_proxy.ports import CannotListen
from pullgate_proxy.settings import ProxySettings
from pullgate_proxy.workers.supervisor import Supervisor
from tests.support.gate import ACCEPT, APP, Gate, basic, license_, registry, running
from tests.support.images import large_image
from tests.support.upstreams import ScriptedRegistry, faults

MIB = 2**20
LARGE = large_image(24 * MIB)
LAYER = next(iter(LARGE.streams))
SIZE = LARGE.streams[LAYER].size
MANIFEST = f"/v2/proxy/{APP}/upstream/my-org/large/manifests/1"
BLOB = f"/v2/proxy/{APP}/upstream/my-org/large/blobs/{LAYER}"


@dataclass(slots=True)
class World:
    gate: Gate
    upstream: ScriptedRegistry
    supervisor: Supervisor
    cache: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.supervisor.port}"

    async def get(self, path: str, license_name: str = "acme") -> tuple[int, str, str]:
        """Status, digest of the body, and cache result; over a new connection."""
        headers = {"Authorization": basic("acme", self.gate.key(license_name)), "Accept": ACCEPT}
        async with aiohttp.ClientSession() as session, session.get(self.url + path, headers=headers) as response:
            received = hashlib.sha256()
            async for chunk in response.content.iter_any():
                received.update(chunk)
            return response.status, f"sha256:{received.hexdigest()}", response.headers.get("X-Pullgate-Cache", "")

    def pids(self) -> list[int]:
        found = [worker._process.pid for worker in self.supervisor._workers.values() if worker._process is not None]
        return sorted(found)

    async def by_worker(self, series: str) -> Counter[str]:
        """A counter's value for each worker, from the admin port."""
        admin = f"http://127.0.0.1:{self.supervisor.admin_port}/metrics"
        async with self.gate.session.get(admin) as response:
            page = (await response.read()).decode()
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == series:
                    found[sample.labels.get("worker", "")] += int(sample.value)
        return found


@contextlib.asynccontextmanager
async def world_of(
    directory: Path, *, settings: dict[str, Any] | None = None, **license_spec: Any
) -> AsyncIterator[World]:
    async with ScriptedRegistry() as upstream:
        await upstream.push("my-org/large", "1", LARGE)
        documents = [registry("upstream", upstream.host), license_("acme", **license_spec), license_("other")]
        async with running(directory / "resources", *documents) as gate:
            cache = directory / "cache"
            defaults = {"listen_port": 0, "admin_port": 0, "workers": 2, "drain_seconds": 3.0, "blob_cache": cache}
            supervisor = Supervisor(ProxySettings(**{**defaults, **(settings or {})}), gate.store)
            await supervisor.start()
            try:
                world = World(gate, upstream, supervisor, cache)
                await all_ready(world)
                yield world
            finally:
                await supervisor.stop()


async def all_ready(world: World) -> None:
    async with asyncio.timeout(30):
        while [w.synced for w in world.supervisor._workers.values()] != [True, True]:
            await asyncio.sleep(0.02)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(tmp_path) as made:
        yield made


async def on_both(world: World) -> None:
    """Enough connections that the kernel gave some to each worker."""
    async with asyncio.timeout(30):
        while len(+await world.by_worker("pullgate_requests_total")) < 2:
            await asyncio.gather(*(world.get(MANIFEST) for _ in range(16)))


async def test_all_workers_serve_one_port_and_are_counted_together(world: World) -> None:
    await on_both(world)
    requests = await world.by_worker("pullgate_requests_total")
    assert set(+requests) == {"0", "1"}
    await world.gate.until(lambda: pulls(world) == requests.total())
    assert await world.by_worker("pullgate_synced") == Counter({"": 1})
    assert await world.by_worker("pullgate_worker_restarts_total") == Counter({"": 0})


def pulls(world: World) -> int:
    tally = world.supervisor.usage.tally((APP, "acme"))
    return sum(row[1] for row in tally.document()["hours"]) if tally is not None else 0


async def test_a_blob_is_fetched_once_for_all_workers_and_kept_once(world: World) -> None:
    got = await asyncio.gather(*(world.get(BLOB) for _ in range(24)))
    assert {(status, digest) for status, digest, _ in got} == {(200, LAYER)}
    assert {result for *_, result in got} <= {"miss", "shared", "hit"}
    await world.gate.until(lambda: not os.listdir(world.cache / "incoming"))
    for _ in range(24):
        assert (await world.get(BLOB))[1] == LAYER
    assert len(world.upstream.received("GET", "/blobs/")) == 1
    fetched = await world.by_worker("pullgate_blob_fetched_bytes_total")
    assert fetched.total() == SIZE
    assert await world.by_worker("pullgate_blob_cache_bytes") == Counter({"": SIZE})


async def test_a_blob_that_another_worker_fetches_is_followed_live(world: World) -> None:
    gate = asyncio.Event()
    world.upstream.on("GET", "/blobs/", faults.hang_after(SIZE // 2, gate), times=1)
    first = asyncio.create_task(world.get(BLOB))
    await world.gate.until(lambda: len(os.listdir(world.cache / "incoming")) == 1)
    headers = {"Authorization": basic("acme", world.gate.key("acme"))}
    seen = 0
    async with contextlib.AsyncExitStack() as stack:
        responses = []
        for _ in range(12):  # both workers are among them, all but surely
            session = await stack.enter_async_context(aiohttp.ClientSession())
            responses.append(await session.get(world.url + BLOB, headers=headers))
        for response in responses:
            assert len(await response.content.readexactly(SIZE // 4)) == SIZE // 4
            seen += 1
        gate.set()
        for response in responses:
            assert len(await response.content.read()) == SIZE - SIZE // 4
    assert (seen, (await first)[1]) == (12, LAYER)
    assert len(world.upstream.received("GET", "/blobs/")) == 1


class FetchedByAnother(Keeper):
    """The keeper of a worker while another worker fetches the blob."""

    async def lead(self, place: Place) -> bool:
        return False

    async def join(self, place: Place) -> int | None:
        return self._incoming[place]


async def test_a_blob_that_another_worker_has_whole_just_now_is_read(tmp_path: Path) -> None:
    content = b"a small layer"
    keeper = FetchedByAnother(BlobDir(tmp_path), Bounds(MIB, 16), lambda _: None)
    cache = BlobCache(keeper, time.monotonic, on_result=lambda _: None, on_received=lambda *_: None)
    await cache.start()
    digest = digest_of(content)
    ask = Ask(Where((APP, "upstream", "uid"), "quay.io", 0.0, 0.0), "my-org/small", digest, no_upstream)
    path = await keeper.claim(ask.place, len(content))
    assert path is not None
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        keeper.directory.seal(file.fileno())
    for held in await asyncio.gather(*(cache.open(ask) for _ in range(4))):
        assert held is not None
        parts = [part async for part in held]
        assert [(part.offset, part.count, part.file.read()) for part in parts if isinstance(part, FilePart)] == [
            (0, len(content), content)
        ]
        await held.aclose()
    await cache.close()
    assert not [fd for fd in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{fd}") == str(path)]


def no_upstream() -> Upstream:
    raise AssertionError("it is not asked")


async def test_a_limit_is_exact_over_all_workers(tmp_path: Path) -> None:
    async with world_of(tmp_path, limits={"pullsPerHour": 7, "concurrentBlobs": 3}) as world:
        await asyncio.gather(*(world.get(MANIFEST, "other") for _ in range(16)))
        got = Counter(status for status, *_ in await asyncio.gather(*(world.get(MANIFEST) for _ in range(40))))
        for _ in range(10):  # at the very edge one that would have fitted passes when it is tried again
            got[(await world.get(MANIFEST))[0]] += 1
        assert got[200] == 7
        assert set(got) == {200, 429}


async def test_bytes_a_day_are_exact_over_all_workers_and_those_of_a_killed_one_are_given_back(tmp_path: Path) -> None:
    async with world_of(tmp_path, limits={"bytesPerDay": "60Mi"}) as world:
        gate = asyncio.Event()
        world.upstream.on("GET", "/blobs/", faults.hang_after(SIZE // 2, gate), times=1)
        held = [asyncio.create_task(world.get(BLOB)) for _ in range(8)]
        await world.gate.until(lambda: sum(task.done() for task in held) == 6)
        assert Counter(task.result()[0] for task in held if task.done()) == Counter({429: 6})
        before = world.pids()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        gate.set()
        await asyncio.gather(*held, return_exceptions=True)
        async with asyncio.timeout(30):
            while len(world.pids()) < 2 or set(world.pids()) & set(before):
                await asyncio.sleep(0.05)
        await all_ready(world)
        got = [(await world.get(BLOB))[0] for _ in range(3)]
        assert got == [200, 200, 429]
        assert (await world.get(BLOB, "other"))[0] == 200


async def test_a_suspended_license_is_refused_by_every_worker_at_once(world: World) -> None:
    await on_both(world)
    await world.gate.apply(license_("acme", suspended={"reason": "invoice 77 unpaid"}))
    async with asyncio.timeout(10):
        while (await world.get(MANIFEST))[0] != 403:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert {status for status, *_ in await asyncio.gather(*(world.get(MANIFEST) for _ in range(32)))} == {403}


async def test_a_worker_that_is_killed_is_replaced_and_nothing_of_it_is_left(world: World) -> None:
    gate = asyncio.Event()
    world.upstream.on("GET", "/blobs/", faults.hang_after(SIZE // 2, gate), times=1)
    pulling = asyncio.create_task(world.get(BLOB))
    await world.gate.until(lambda: len(os.listdir(world.cache / "incoming")) == 1)
    before = world.pids()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(aiohttp.ClientError):
        await pulling
    gate.set()
    async with asyncio.timeout(30):
        while len(world.pids()) < 2 or set(world.pids()) & set(before):
            await asyncio.sleep(0.05)
    await all_ready(world)
    assert await world.by_worker("pullgate_worker_restarts_total") == Counter({"": 2})
    assert os.listdir(world.cache / "incoming") == []
    assert not world.supervisor._desk or not world.supervisor._desk._leaders
    assert (await world.get(MANIFEST))[0] == 200
    assert (await world.get(BLOB))[:2] == (200, LAYER)


async def test_one_workers_death_costs_the_others_followers_nothing(world: World) -> None:
    gate = asyncio.Event()
    world.upstream.on("GET", "/blobs/", faults.hang_after(SIZE // 2, gate), times=1)
    pulls_ = []
    for _ in range(32):  # one after the other, so that no worker accepts all of them at once
        pulls_.append(asyncio.create_task(world.get(BLOB)))
        await asyncio.sleep(0.02)
    await world.gate.until(lambda: len(os.listdir(world.cache / "incoming")) == 1)
    await asyncio.sleep(0.5)
    desk = world.supervisor._desk
    assert desk is not None
    (number,) = desk._leaders.values()
    leader = world.supervisor._workers[number]
    assert leader._process is not None
    leader._process.kill()
    gate.set()
    got = await asyncio.gather(*pulls_, return_exceptions=True)
    whole = [each for each in got if not isinstance(each, BaseException)]
    assert {each[:2] for each in whole} <= {(200, LAYER)}
    assert all(isinstance(each, aiohttp.ClientError) for each in got if isinstance(each, BaseException))
    assert whole, "the kernel gave all connections to one worker"


async def test_a_drain_lets_the_bodies_of_every_worker_finish(world: World) -> None:
    gate = asyncio.Event()
    world.upstream.on("GET", "/blobs/", faults.hang_after(SIZE // 2, gate), times=1)
    pulls_ = [asyncio.create_task(world.get(BLOB)) for _ in range(8)]
    await world.gate.until(lambda: len(os.listdir(world.cache / "incoming")) == 1)
    await asyncio.sleep(0.5)
    stopping = asyncio.create_task(world.supervisor.stop())
    await asyncio.sleep(0.3)
    assert not world.supervisor.readiness().ready
    gate.set()
    assert {each[:2] for each in await asyncio.gather(*pulls_)} == {(200, LAYER)}
    await stopping
    assert world.pids() == []


async def test_a_port_that_is_taken_is_told(world: World) -> None:
    settings = ProxySettings(listen_port=world.gate.proxy.port, admin_port=0, workers=2)
    other = Supervisor(settings, world.gate.store)
    with pytest.raises(CannotListen, match="--listen"):
        await other.start()
    await other.stop()
