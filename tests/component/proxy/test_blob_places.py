"""Two apps that name the same blob: neither gets a byte of it that its own upstream did not deliver.

The upstream of app "rival" claims to have the other app's layer, in every way but by its bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pullgate.oci.digest import digest_of
from pullgate_proxy.app import Proxy
from pullgate_proxy.cache.blobs.objects import Location
from pullgate_proxy.peers.ticket import path_of
from tests.component.proxy.test_object_store import s3  # noqa: F401 - a fixture
from tests.component.proxy.test_peers import LARGE, LAYER, SIZE, ask_of, ready
from tests.support.content import Noise, Part
from tests.support.gate import APP, Gate, basic, license_, registry, running
from tests.support.ports import free_port
from tests.support.upstreams import ScriptedRegistry, faults
from tests.support.upstreams.wire import Reply, Request

RIVAL = "rival"
WRONG = Noise("wrong", SIZE)
OURS = f"/v2/proxy/{APP}/upstream/my-org/large/blobs/{LAYER}"
THEIRS = f"/v2/proxy/{RIVAL}/theirs/my-org/large/blobs/{LAYER}"
NOT_FOUND = faults.refuse(404, "BLOB_UNKNOWN")


def only_parts(request: Request, right: Reply) -> Reply:
    """A Range is answered, and the whole refused."""
    return right if "Range" in request.headers else NOT_FOUND(request, right)


def another_blob(_: Request, right: Reply) -> Reply:
    """Other bytes of the same length, or of the same part of it."""
    part = right.content
    return replace(right, content=Part(WRONG, part.start, part.stop) if isinstance(part, Part) else WRONG)


CLAIMS = {
    "404": (NOT_FOUND,),
    "403": (faults.refuse(403, "DENIED"),),
    "500": (faults.answer(500),),
    "a redirect to nowhere": (faults.redirect(f"http://127.0.0.1:{free_port()}/blob"),),
    "only parts": (only_parts,),
    "another blob": (another_blob,),
    "another blob that drips": (another_blob, faults.trickle(500, 0.1)),
    "nothing": (faults.hang(),),
}
"""How a GET fails of an upstream that answers HEAD with 200."""


@dataclass(frozen=True, slots=True)
class World:
    gate: Gate
    ours: ScriptedRegistry
    theirs: ScriptedRegistry
    cache: Path

    async def pull(self, proxy: Proxy | None = None) -> tuple[str, str]:
        """The answer to our customer, and its result in the cache."""
        answer = await self.gate.ask("GET", OURS, self.gate.key("acme"), proxy=proxy)
        assert answer.status == 200, answer.body
        await self.gate.until(lambda: bool(self.files()))  # it comes there after its last byte went out
        return digest_of(answer.body), answer.headers.get("X-Pullgate-Cache", "")

    async def take(
        self, proxy: Proxy | None = None, *, port: int = 0, seconds: float = 1.0, **headers: str
    ) -> tuple[int, bytes, str]:
        """Status, the bytes that the rival's customer gets within `seconds`, and the cache result."""
        headers |= {"Authorization": basic("eve", self.gate.key("eve", RIVAL))}
        url = f"http://127.0.0.1:{port or (proxy or self.gate.proxy).port}{THEIRS}"
        status, received, result = 0, bytearray(), ""
        async with aiohttp.ClientSession() as session:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with (
                    asyncio.timeout(seconds),
                    session.get(url, headers=headers, allow_redirects=False) as response,
                ):
                    status, result = response.status, response.headers.get("X-Pullgate-Cache", "")
                    async for chunk in response.content.iter_any():
                        received += chunk
        return status, bytes(received), result

    async def expect_nothing(self, proxy: Proxy | None = None, *, port: int = 0) -> None:
        """Assert that the rival's customer gets an error, or the bytes of the rival's own upstream."""
        head = await self.gate.ask("HEAD", THEIRS, self.gate.key("eve", RIVAL), proxy=None if port else proxy)
        assert head.status == 200
        for _ in range(2):
            status, received, _ = await self.take(proxy, port=port)
            assert status in {0, 200, 403, 404, 502, 503, 504}
            assert received == part_of(WRONG, 0, len(received)) if status == 200 else len(received) < 2000

    def coming(self) -> list[str]:
        return os.listdir(self.cache / "incoming")

    def files(self) -> list[Path]:
        return [path for path in (self.cache / "blobs").rglob("*") if path.is_file()]

    def claim(self, *claims: Any) -> None:
        """Let the rival's upstream fail each GET."""
        self.theirs.on("GET", "/blobs/", *claims)

    async def restart(self) -> None:
        await self.gate.proxy.stop()
        self.gate.proxy = await self.ready(await self.gate.start_proxy())

    async def ready(self, proxy: Proxy) -> Proxy:
        await self.gate.until(lambda: proxy.snapshot.synced and bool(proxy.snapshot.signing_keys.keys))
        return proxy


def part_of(content: Noise, first: int, end: int) -> bytes:
    return b"".join(content.chunks(first, end))


def got(upstream: ScriptedRegistry) -> int:
    return len(upstream.received("GET", "/blobs/"))


@contextlib.asynccontextmanager
async def world_of(directory: Path, *, delivery: str = "Stream", **settings: Any) -> AsyncIterator[World]:
    async with ScriptedRegistry() as ours, ScriptedRegistry() as theirs:
        for upstream in (ours, theirs):
            await upstream.push("my-org/large", "1", LARGE)
        documents = [
            registry("upstream", ours.host, delivery=delivery),
            license_("acme"),
            registry("theirs", theirs.host, namespace=RIVAL, delivery=delivery),
            license_("eve", namespace=RIVAL),
        ]
        cache = directory / "cache"
        defaults = {"blob_cache": cache, "first_byte_timeout": 0.5, "idle_timeout": 1.0}
        async with running(directory / "resources", *documents, **{**defaults, **settings}) as gate:
            yield World(gate, ours, theirs, cache)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(tmp_path) as made:
        yield made


# --- the disk


@pytest.mark.parametrize("claims", CLAIMS.values(), ids=CLAIMS)
async def test_an_upstream_that_names_another_apps_blob_gets_its_customers_no_byte_of_it(
    world: World, claims: Any
) -> None:
    await world.pull()
    world.claim(*claims)
    await world.expect_nothing()
    assert await world.pull() == (LAYER, "hit")
    assert got(world.ours) == 1
    assert len(world.files()) == 1


@pytest.mark.parametrize("claims", [CLAIMS["404"], CLAIMS["another blob"]], ids=["404", "another blob"])
async def test_nor_while_the_blob_comes_in_for_the_other_app(world: World, claims: Any) -> None:
    world.ours.on("GET", "/blobs/", faults.trickle(300_000, 0.1), times=1)
    world.claim(*claims)
    pulling = asyncio.create_task(world.pull())
    await world.gate.until(lambda: bool(world.coming()))
    await world.expect_nothing()
    assert not pulling.done()
    assert await pulling == (LAYER, "miss")


async def test_nor_after_a_restart_and_the_other_app_has_its_blob_without_a_fetch(world: World) -> None:
    await world.pull()
    world.claim(NOT_FOUND)
    await world.restart()
    await world.expect_nothing()
    assert await world.pull() == (LAYER, "revalidated")
    assert got(world.ours) == 1


async def test_a_part_is_what_its_own_upstream_sends_for_it(world: World) -> None:
    await world.pull()
    own = Noise("own", SIZE)

    def part(request: Request, right: Reply) -> Reply:
        if right.status != 206:
            return NOT_FOUND(request, right)
        return faults.body(part_of(own, 5, 10))(request, right)

    world.claim(part)
    assert (await world.take(Range="bytes=5-9"))[:2] == (206, part_of(own, 5, 10))
    status, body, _ = await world.take(Range="bytes=0-9")
    assert status == 404
    assert part_of(LARGE.streams[LAYER], 0, 10) not in body
    assert (await world.take())[0] == 404


async def test_a_place_that_truly_has_the_blob_costs_one_fetch_and_no_second_file(world: World) -> None:
    await world.pull()
    for expected in ("miss", "hit", "hit"):
        status, body, result = await world.take(seconds=10.0)
        assert (status, digest_of(body), result) == (200, LAYER, expected)
        await world.gate.until(lambda: not world.coming())
    assert (got(world.theirs), got(world.ours), len(world.files())) == (1, 1, 1)
    keeper: Any = world.gate.proxy.caches.blobs.keeper  # type: ignore[union-attr]  # it has a disk
    assert (keeper.size, keeper.files) == (SIZE, 1)
    await world.restart()
    assert (await world.take())[2] == "revalidated"
    assert await world.pull() == (LAYER, "revalidated")
    assert (got(world.theirs), got(world.ours)) == (1, 1)


@pytest.mark.parametrize("claims", [(), CLAIMS["404"]], ids=["has it", "404"])
async def test_any_number_of_clients_of_a_new_place_cost_one_fetch(world: World, claims: Any) -> None:
    await world.pull()
    slow = faults.trickle(500_000, 0.02) if not claims else claims[0]
    world.claim(slow)
    taken = await asyncio.gather(*(world.take(seconds=20.0) for _ in range(50)))
    assert {status for status, *_ in taken} == {404 if claims else 200}
    if not claims:
        assert {digest_of(body) for _, body, _ in taken} == {LAYER}
        assert got(world.theirs) == 1
    else:
        assert got(world.theirs) < 25  # one for all who come before it is answered


async def test_what_an_upstream_says_of_a_blobs_size_keeps_it_off_no_other_apps_disk(world: World) -> None:
    world.claim(faults.endless(content_type="application/octet-stream", declared=2**50))
    await world.take()
    assert await world.pull() == (LAYER, "miss")
    assert await world.pull() == (LAYER, "hit")


async def test_a_proof_goes_with_its_blob(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        await world.pull()
        proofs = world.cache / "proofs"  # written after the last byte went out
        await world.gate.until(lambda: proofs.exists() and proofs.read_text().count(f"{LAYER} {APP} ") == 1)
        for path in world.files():
            path.unlink()
        await world.gate.proxy.stop()
        world.gate.proxy = await world.ready(await world.gate.start_proxy())
        keeper: Any = world.gate.proxy.caches.blobs.keeper  # type: ignore[union-attr]  # it has a disk
        await world.gate.until(lambda: not len(keeper._proofs))
        await world.gate.until(lambda: LAYER not in proofs.read_text())
        assert await world.pull() == (LAYER, "miss")


# --- peers


@contextlib.asynccontextmanager
async def replicas(directory: Path) -> AsyncIterator[tuple[World, list[Proxy]]]:
    ports = [free_port() for _ in range(2)]
    peers = tuple(("127.0.0.1", port) for port in ports)
    async with world_of(directory, peer_fetch=peers, peer_listen=peers[0]) as world:
        other = await world.gate.start_proxy(peer_listen=peers[1], blob_cache=directory / "second")
        both = [world.gate.proxy, await world.ready(other)]
        for replica in both:
            await world.gate.until(lambda each=replica: ready(each, 2))  # type: ignore[misc]
        yield world, both


@pytest.mark.parametrize("claims", [CLAIMS["404"], CLAIMS["another blob"]], ids=["404", "another blob"])
async def test_nor_from_a_peer_that_has_the_blob_for_another_app(tmp_path: Path, claims: Any) -> None:
    async with replicas(tmp_path) as (world, both):
        for replica in both:
            assert (await world.pull(replica))[0] == LAYER
        assert got(world.ours) == 1
        world.claim(*claims)
        for replica in both:
            await world.expect_nothing(replica)


async def test_a_peer_answers_for_the_place_that_the_ticket_names_alone(tmp_path: Path) -> None:
    async with replicas(tmp_path) as (world, both):
        for replica in both:
            await world.pull(replica)
        replica = both[0]
        right = path_of(ask_of(replica))
        made_anew = right[:-32] + "0" * 32
        host, port = replica.settings.peer_listen
        for path, status in ((right, 200), (made_anew, 404)):
            ticket = replica.snapshot.signing_keys.issue_ticket(path, time.time())
            headers = {"Authorization": f"Bearer {ticket}"}
            async with world.gate.session.get(f"http://{host}:{port}{path}", headers=headers) as response:
                assert response.status == status


# --- the object store


@pytest.mark.parametrize("delivery", ["Stream", "Redirect"])
@pytest.mark.parametrize("claims", [CLAIMS["404"], CLAIMS["another blob"]], ids=["404", "another blob"])
async def test_nor_from_the_object_store_by_bytes_or_by_a_signed_url(
    s3: str,  # noqa: F811 - the fixture
    tmp_path: Path,
    claims: Any,
    delivery: str,
) -> None:
    async with object_store(tmp_path, s3, delivery) as (world, other):
        world.claim(*claims)
        for replica in (world.gate.proxy, other):
            await world.expect_nothing(replica)
        answer = await world.gate.ask("GET", OURS, world.gate.key("acme"), proxy=other)
        assert answer.status == (200 if delivery == "Stream" else 307)
        assert got(world.ours) == 1


async def test_a_place_that_another_replica_proved_has_the_blob_from_the_store(
    s3: str,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    async with object_store(tmp_path, s3, "Stream") as (world, other):
        store: Any = other.caches.blobs.store  # type: ignore[union-attr]  # it has one
        assert digest_of((await world.take(seconds=10.0))[1]) == LAYER
        assert got(world.theirs) == 1

        async def is_proven() -> bool:
            store._known.clear()
            return (await store.locate(ask_of_rival(other))) is not None

        async with asyncio.timeout(10):
            while not await is_proven():
                await asyncio.sleep(0.05)
        assert digest_of((await world.take(other, seconds=10.0))[1]) == LAYER
        assert got(world.theirs) == 1


async def test_a_store_that_does_not_say_that_a_place_is_proven_serves_it_nothing(
    s3: str,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    async with object_store(tmp_path, s3, "Stream") as (world, other):
        store: Any = other.caches.blobs.store  # type: ignore[union-attr]  # it has one
        store._again_at = float("inf")
        assert (await world.pull(other))[0] == LAYER
        assert got(world.ours) == 2


def ask_of_rival(replica: Proxy) -> Any:
    facts = replica.snapshot.registry_named(RIVAL, "theirs")
    assert facts is not None
    ours = ask_of(replica)
    replica._upstreams.get(facts)
    return replace(ours, where=replica._upstreams.where(facts)).place


@contextlib.asynccontextmanager
async def object_store(directory: Path, endpoint: str, delivery: str) -> AsyncIterator[tuple[World, Proxy]]:
    """A store that has our app's layer, and a second replica with an empty disk."""
    async with aiohttp.ClientSession() as session:
        await session.post(f"{endpoint}/moto-api/reset")
        await session.put(f"{endpoint}/my-bucket")
    location = Location("my-bucket", "pullgate/", endpoint)
    async with world_of(directory, delivery=delivery, object_store=location) as world:
        await world.pull()
        store: Any = world.gate.proxy.caches.blobs.store  # type: ignore[union-attr]  # it has one
        proof = location.proof_key(ask_of(world.gate.proxy).place)
        await world.gate.until(lambda: store._known.get(proof, (None, 0))[0] is not None)
        other = await world.ready(await world.gate.start_proxy(blob_cache=directory / "second"))
        yield world, other
