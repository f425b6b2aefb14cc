"""One License, Registry or app never takes all of the proxy: a newcomer is served."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from pullgate.oci.manifest import MANIFEST_LIMIT
from pullgate.policy.tenancy import LOOPBACK, TenantPolicy
from pullgate_proxy.cache.blobs.ask import Ask
from tests.support.catalog import WORKER, catalog, seed
from tests.support.gate import Answer, Gate, basic, license_, registry, running
from tests.support.images import image
from tests.support.upstreams import ScriptedRegistry, faults

ROOM = 320
"""Requests at once."""
IMAGE = catalog()[WORKER, "1.0.0"]
APPS = ("one", "two", "three")


@dataclass(slots=True)
class World:
    """Apps `one`, `two` and `three`: each with an upstream and Registry of its own, Licenses acme, globex, initech."""

    gate: Gate
    upstreams: dict[str, ScriptedRegistry]
    asked: list[asyncio.Task[Answer]]
    session: aiohttp.ClientSession
    """Without a bound of its connections."""

    def path(self, app: str, what: str) -> str:
        return f"/v2/proxy/{app}/up/{WORKER}/{what}"

    async def manifest(self, app: str, name: str = "acme") -> Answer:
        return await self.gate.get(self.path(app, "manifests/1.0.0"), self.gate.key(name, app))

    async def blob(self, app: str, name: str = "acme") -> Answer:
        return await self.gate.get(self.path(app, f"blobs/{IMAGE.config}"), self.gate.key(name, app))

    def flood(self, app: str, what: str, count: int, name: str = "acme") -> list[asyncio.Task[Answer]]:
        """`count` GETs at once."""
        target, headers = self.gate.url + self.path(app, what), {"Authorization": basic(name, self.gate.key(name, app))}

        async def ask() -> Answer:
            async with self.session.get(target, headers=headers) as got:
                return Answer(got.status, got.reason or "", got.headers, await got.read())

        tasks = [asyncio.create_task(ask()) for _ in range(count)]
        self.asked += tasks
        return tasks

    async def settle(self, tasks: list[asyncio.Task[Answer]]) -> list[Answer]:
        """Those that were answered, once all others are open."""
        requests = self.gate.proxy.admission.requests
        async with asyncio.timeout(60):
            while requests.used + sum(task.done() for task in tasks) < len(tasks):
                await asyncio.sleep(0.05)
        return [task.result() for task in tasks if task.done()]


@contextlib.asynccontextmanager
async def world_of(path: Path, *, prefetch: bool = False, **settings: object) -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as stack:
        upstreams = {app: await stack.enter_async_context(ScriptedRegistry()) for app in APPS}
        documents = []
        for app, upstream in upstreams.items():
            await seed(upstream)
            documents.append(registry("up", upstream.host, namespace=app, cache={"prefetch": prefetch}))
            documents += [license_(name, namespace=app) for name in ("acme", "globex", "initech")]
        gate = await stack.enter_async_context(running(path / "resources", *documents, max_requests=ROOM, **settings))
        gate.proxy.admission.wait_seconds = 0.3
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        world = World(gate, upstreams, [], session)
        stack.push_async_callback(end, world)
        yield world


async def end(world: World) -> None:
    for task in world.asked:
        task.cancel()
    await asyncio.gather(*world.asked, return_exceptions=True)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(tmp_path) as world:
        yield world


async def test_an_app_has_no_more_requests_open_than_its_administrator_allows(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with world_of(tmp_path, tenants=TenantPolicy(networks=LOOPBACK, max_requests=7)) as world:
        world.upstreams["one"].on("GET", "/blobs/", faults.hang_after(10, go_on))
        refused = await world.settle(world.flood("one", f"blobs/{IMAGE.config}", 20))
        assert len(refused) == 13
        assert refused[0].message.startswith("app one has 7 requests open, which is its share")
        assert (await world.manifest("two")).status == 200
        go_on.set()


async def test_a_burst_of_one_license_beyond_its_share_waits_and_all_of_it_is_served(world: World) -> None:
    admission, go_on = world.gate.proxy.admission, asyncio.Event()
    admission.wait_seconds = 30
    world.upstreams["one"].on("GET", "/blobs/", faults.hang_after(10, go_on))
    burst = world.flood("one", f"blobs/{IMAGE.config}", ROOM)
    await world.gate.until(lambda: admission.requests.used + admission.waiting == ROOM)
    assert admission.running == admission.requests.used, "one that waits takes no room of others"
    for app, name in (("one", "globex"), ("two", "acme")):
        assert (await world.manifest(app, name)).status == 200
    go_on.set()
    assert {answer.status for answer in await asyncio.gather(*burst)} == {200}
    await world.gate.until(lambda: admission.requests.holders == admission.running == 0)


async def test_a_license_that_is_suspended_while_its_pull_waits_is_refused(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with world_of(tmp_path, tenants=TenantPolicy(networks=LOOPBACK, max_requests=1)) as world:
        world.gate.proxy.admission.wait_seconds = 30
        world.upstreams["one"].on("GET", "/blobs/", faults.hang_after(10, go_on), times=1)
        burst = world.flood("one", f"blobs/{IMAGE.config}", 2)
        await world.gate.until(lambda: world.gate.proxy.admission.waiting == 1)
        await world.gate.apply(license_("acme", namespace="one", suspended={}))
        await world.gate.until_status("/v2/", world.gate.key("acme", "one"), 403)
        go_on.set()
        assert sorted(answer.fault for answer in await asyncio.gather(*burst)) == ["", "LicenseSuspended"]


async def test_a_client_that_is_gone_while_its_pull_waits_costs_the_upstream_nothing(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with world_of(tmp_path, tenants=TenantPolicy(networks=LOOPBACK, max_requests=1)) as world:
        admission = world.gate.proxy.admission
        admission.wait_seconds = 30
        world.upstreams["one"].on("GET", "/blobs/", faults.hang_after(10, go_on), times=1)
        world.flood("one", f"blobs/{IMAGE.config}", 1)
        await world.gate.until(lambda: asked_for_blobs(world, "one") == 1)
        (gone,) = world.flood("one", f"blobs/{IMAGE.config}", 1)
        await world.gate.until(lambda: admission.waiting == 1)
        gone.cancel()
        await world.gate.until(lambda: len(admission.connections) == 1)
        go_on.set()
        await world.gate.until(lambda: admission.requests.holders == admission.waiting == admission.running == 0)
        assert asked_for_blobs(world, "one") == 1


async def test_320_slow_gets_of_one_license_leave_all_others_served(world: World) -> None:
    go_on = asyncio.Event()
    world.upstreams["one"].on("GET", "/blobs/", faults.hang_after(10, go_on))
    refused = await world.settle(world.flood("one", f"blobs/{IMAGE.config}", 320))
    assert {answer.fault for answer in refused} == {"ShareReached"}
    assert {(answer.status, answer.code) for answer in refused} == {(429, "TOOMANYREQUESTS")}
    room = world.gate.proxy.admission.room.requests
    held = 320 - len(refused)
    assert held == -(-room // 3)
    assert refused[0].message.startswith(f"license acme has {held} requests open, which is its share")
    assert int(refused[0].headers["Retry-After"]) >= 1
    assert (await world.manifest("one")).fault == "ShareReached"
    for app, name in (("one", "globex"), ("two", "acme")):
        assert (await world.manifest(app, name)).status == 200
    assert (await world.blob("two")).body == IMAGE.blobs[IMAGE.config]
    go_on.set()
    await asyncio.gather(*world.asked)
    await world.gate.until(lambda: world.gate.proxy.admission.requests.holders == 0)
    assert (await world.manifest("one")).status == 200


async def test_two_licenses_that_take_all_they_can_of_one_registry_leave_a_third_served(world: World) -> None:
    world.upstreams["one"].on("GET", "/blobs/", faults.hang_after(10), times=640)
    flood = world.flood("one", f"blobs/{IMAGE.config}", 320) + world.flood(
        "one", f"blobs/{IMAGE.config}", 320, "globex"
    )
    assert {answer.fault for answer in await world.settle(flood)} == {"ShareReached"}
    assert (await world.manifest("one", "initech")).status == 200


async def test_two_hostile_apps_leave_a_third_served(world: World) -> None:
    for app in ("one", "two"):
        world.upstreams[app].on("GET", "/blobs/", faults.hang_after(10))
    flood = [
        task
        for name in ("acme", "globex", "initech")
        for app in ("one", "two")
        for task in world.flood(app, f"blobs/{IMAGE.config}", 200, name)
    ]
    assert {answer.fault for answer in await world.settle(flood)} == {"ShareReached"}
    served = await asyncio.gather(*(world.blob("three", name) for name in ("acme", "globex", "initech") * 8))
    assert {answer.status for answer in served} == {200}


async def test_an_app_works_on_no_more_lists_than_its_share_and_those_of_another_are_answered(world: World) -> None:
    lists = world.gate.proxy.admission.room.lists
    world.upstreams["one"].on("GET", "/tags/list|/referrers/", faults.hang(), times=100)
    for what in ("tags/list", f"referrers/{IMAGE.digest}"):
        world.flood("one", what, lists)
    await world.gate.until(lambda: world.gate.proxy.admission.requests.used == 2 * lists)
    await asyncio.sleep(0.1)
    asked = len(world.upstreams["one"].received("GET", "/tags/list|/referrers/"))
    assert world.gate.proxy._forwarder._lists.used <= lists // 2
    assert asked <= lists // 2
    for what in ("tags/list", f"referrers/{IMAGE.digest}"):
        async with asyncio.timeout(5):
            (answer,) = await asyncio.gather(*world.flood("two", what, 1))
        assert answer.status == 200


async def test_26_manifests_that_drip_and_claim_4_mib_cost_only_their_own_registry(tmp_path: Path) -> None:
    async with world_of(tmp_path, idle_timeout=2.0) as world:
        bodies = world.gate.proxy.admission.bodies
        bodies.limit = 96 << 20
        drip = faults.answer(200, b"{" + b" " * (MANIFEST_LIMIT - 1), {"Content-Type": "application/json"})
        slow = faults.trickle(1, 0.05)
        world.upstreams["one"].on(
            "GET", "/manifests/", lambda request, right: slow(request, drip(request, right)), times=26
        )
        flood = world.flood("one", "manifests/1.0.0", 26)
        await world.gate.until(lambda: bodies.used >= 26)
        assert bodies.used < 26 * 1000, "what came is counted, and not what was claimed"
        for app in APPS:
            assert (await world.manifest(app, "globex")).status == 200
        answers = await asyncio.gather(*flood)
        assert {answer.fault for answer in answers} == {"UpstreamTimeout"}
        assert bodies.used == 0


async def test_large_manifests_of_one_registry_leave_room_for_those_of_others(world: World) -> None:
    bodies = world.gate.proxy.admission.bodies
    bodies.limit = 1 << 20
    large = faults.answer(200, b"{" + b" " * (MANIFEST_LIMIT - 1), {"Content-Type": "application/json"})
    stuck = faults.hang_after(300_000)
    world.upstreams["one"].on("GET", "/manifests/", lambda request, right: stuck(request, large(request, right)))
    refused = await world.settle(world.flood("one", "manifests/1.0.0", 10))
    assert {answer.fault for answer in refused} == {"ShareReached"}
    assert refused[0].message.startswith("Registry up has ")
    assert (await world.manifest("two")).status == 200
    assert not list(world.gate.proxy._upstreams.down())


async def test_strangers_whose_forms_drip_hold_no_request_and_no_part_of_a_licenses(world: World) -> None:
    head = b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\ngrant_type="
    port = world.gate.proxy.port
    strangers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2 * ROOM)]
    for _, writer in strangers:
        writer.write(head)
    await world.gate.until(lambda: world.gate.proxy.admission._forms.used > 100)
    assert world.gate.proxy.admission.running == 0
    assert (await world.manifest("one")).status == 200
    for _, writer in strangers:
        writer.transport.abort()


async def test_an_app_whose_blobs_never_come_stops_no_other_apps_from_being_fetched_ahead(tmp_path: Path) -> None:
    async with world_of(tmp_path, prefetch=True, blob_cache=tmp_path / "blobs") as world:
        world.upstreams["one"].on("GET", "/blobs/", faults.hang())
        for number in range(4):
            several = image(f"several-{number}")
            await world.upstreams["one"].push("my-org/several", str(number), several)
            path = f"/v2/proxy/one/up/my-org/several/manifests/{number}"
            assert (await world.gate.get(path, world.gate.key("acme", "one"))).status == 200
        await world.gate.until(lambda: asked_for_blobs(world, "one") == 3)
        assert (await world.manifest("two")).status == 200
        await world.gate.until(lambda: asked_for_blobs(world, "two") >= 2)
        assert asked_for_blobs(world, "one") == 3


def asked_for_blobs(world: World, app: str) -> int:
    return sum("/blobs/" in request.target for request in world.upstreams[app].requests)


async def test_a_fetch_that_nobody_reads_ends_though_half_of_it_is_there(tmp_path: Path) -> None:
    async with world_of(tmp_path, blob_cache=tmp_path / "blobs") as world:
        blobs = world.gate.proxy.caches.blobs
        assert blobs is not None
        blobs.fetches.linger, blobs.fetches.unread = 0.1, 0.3
        most = len(IMAGE.blobs[IMAGE.config]) - 1
        world.upstreams["one"].on("GET", "/blobs/", faults.hang_after(most))
        facts = world.gate.proxy.snapshot.registry_named("one", "up")
        assert facts is not None
        upstream = world.gate.proxy._upstreams.get(facts)
        held = await blobs.open(Ask(world.gate.proxy._upstreams.where(facts), WORKER, IMAGE.config, lambda: upstream))
        assert held is not None
        assert held.flight is not None
        await held.flight.wait_beyond(most - 1)
        await held.aclose()
        await world.gate.until(lambda: len(blobs.fetches) == 0)
