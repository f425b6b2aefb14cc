"""Replicas: each blob is fetched from its upstream by one of them, and a replica that fails costs no pull."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.oci.digest import digest_of
from pullgate_proxy.app import Proxy
from pullgate_proxy.cache.blobs.ask import Ask
from pullgate_proxy.peers.membership import owner_of
from pullgate_proxy.peers.ticket import path_of, read_path
from tests.support.gate import APP, Gate, license_, registry, running
from tests.support.images import large_image
from tests.support.ports import free_port
from tests.support.upstreams import ScriptedRegistry, faults

LARGE = large_image(8 * 2**20)
LAYER = next(iter(LARGE.streams))
SIZE = LARGE.streams[LAYER].size
KEY = "0" * 32
"""The key of a place."""


@dataclass(frozen=True, slots=True)
class World:
    gate: Gate
    upstream: ScriptedRegistry
    replicas: list[Proxy]

    async def pull(self, replica: Proxy, digest: str = LAYER) -> str:
        path = f"/v2/proxy/{APP}/upstream/my-org/large/blobs/{digest}"
        answer = await self.gate.ask("GET", path, self.gate.key("acme"), proxy=replica)
        assert answer.status == 200, answer.body
        return digest_of(answer.body)

    def asked(self, digest: str = LAYER) -> int:
        return len(self.upstream.received("GET", f"/blobs/{digest}"))

    def owner(self, digest: str = LAYER) -> Proxy:
        found = owner_of(digest, [replica.settings.peer_listen for replica in self.replicas])
        return next(replica for replica in self.replicas if found == replica.settings.peer_listen)

    def strangers(self) -> list[Proxy]:
        return [replica for replica in self.replicas if replica is not self.owner()]


@contextlib.asynccontextmanager
async def world_of(directory: Path, count: int = 3, first_byte_timeout: float = 2.0) -> AsyncIterator[World]:
    async with ScriptedRegistry() as upstream:
        await upstream.push("my-org/large", "1", LARGE)
        ports = [free_port() for _ in range(count)]
        settings = {
            "peer_fetch": tuple(("127.0.0.1", port) for port in ports),
            "first_byte_timeout": first_byte_timeout,
            "idle_timeout": 1.0,
        }
        documents = [registry("upstream", upstream.host), license_("acme")]
        first = {"peer_listen": ("127.0.0.1", ports[0]), "blob_cache": directory / "cache-0"}
        async with running(directory / "resources", *documents, **settings, **first) as gate:
            replicas = [gate.proxy]
            for number, port in list(enumerate(ports))[1:]:
                cache = directory / f"cache-{number}"
                replicas.append(await gate.start_proxy(peer_listen=("127.0.0.1", port), blob_cache=cache))
            for replica in replicas:
                await gate.until(lambda each=replica: ready(each, count))  # type: ignore[misc]
            yield World(gate, upstream, replicas)


def ask_of(replica: Proxy, name: str = "upstream") -> Ask:
    """For the layer, as the replica asks for it."""
    facts = replica.snapshot.registry_named(APP, name)
    assert facts is not None
    current = functools.partial(replica._upstreams.get, facts)
    current()
    return Ask(replica._upstreams.where(facts), "my-org/large", LAYER, current)


def ready(replica: Proxy, count: int) -> bool:
    assert replica.caches._peers is not None
    there = len(replica.caches._peers.membership._there) == count
    return there and replica.snapshot.synced and bool(replica.snapshot.signing_keys.keys)


async def test_n_replicas_fetch_a_blob_once(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        pulled = await asyncio.gather(*(world.pull(replica) for replica in world.replicas for _ in range(5)))
        assert set(pulled) == {LAYER}
        assert world.asked() == 1
        for replica in world.replicas:
            value = replica.metrics.registry.get_sample_value
            source = "upstream" if replica is world.owner() else "peer"
            assert value("pullgate_blob_fetched_bytes_total", {"source": source}) == SIZE


async def test_a_replica_that_is_gone_costs_no_pull(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        owner, others = world.owner(), world.strangers()
        await owner.stop()
        assert await world.pull(others[0]) == LAYER
        assert await world.pull(others[1]) == LAYER


async def test_a_replica_that_is_gone_in_mid_blob_is_gone_on_without(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        gate = asyncio.Event()
        world.upstream.on("GET", "/blobs/", faults.hang_after(SIZE // 2, gate), times=1)
        asked = [asyncio.create_task(world.pull(replica)) for replica in world.strangers()]
        await world.gate.until(lambda: world.asked() >= 1)
        await asyncio.sleep(0.3)
        world.upstream.heal()
        await world.owner().stop()
        assert await asyncio.gather(*asked) == [LAYER, LAYER]


async def test_a_refusal_of_the_upstream_is_told_by_whom_the_client_asked(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        world.upstream.on("GET|HEAD", "/blobs/", faults.refuse(403, "DENIED"))
        path = f"/v2/proxy/{APP}/upstream/my-org/large/blobs/{LAYER}"
        for replica in world.replicas:
            answer = await world.gate.ask("GET", path, world.gate.key("acme"), proxy=replica)
            assert answer.fault == "UpstreamForbidden"


async def test_a_peer_is_served_only_with_a_ticket_for_that_very_blob(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2) as world:
        replica = world.replicas[0]
        path = path_of(ask_of(replica))
        keys, now = replica.snapshot.signing_keys, time.time()
        async with aiohttp.ClientSession() as session:

            async def ask(ticket: str | None, **headers: str) -> int:
                if ticket is not None:
                    headers["Authorization"] = f"Bearer {ticket}"
                url = f"http://127.0.0.1:{replica.settings.peer_listen[1]}{path}"
                async with session.get(url, headers=headers) as response:
                    return response.status

            assert await ask(None) == 403
            assert await ask("nonsense") == 403
            assert await ask(keys.issue_ticket(path + "0", now)) == 403
            assert await ask(keys.issue_ticket(path, now - 3600)) == 403
            assert await ask(keys.issue(b"k" * 32, now)) == 403, "a client's token is no ticket"
            assert world.asked() == 0
            assert await ask(keys.issue_ticket(path, now), **{"X-Pullgate-Instance": replica.usage.instance}) == 421
            assert await ask(keys.issue_ticket(path, now)) == 200
            answer = await world.gate.ask("GET", path, world.gate.key("acme"), proxy=replica)
            assert answer.status == 404, "customers do not reach it"
            ticket = keys.issue_ticket(path, now)
            bearer = {"Authorization": f"Bearer {ticket}"}
            answer = await world.gate.ask("GET", "/v2/", proxy=replica, headers=bearer)
            assert answer.fault == "TokenExpired", "a ticket is no client's token"


async def test_what_a_peer_brings_is_verified(tmp_path: Path) -> None:
    async with world_of(tmp_path, 2) as world:
        owner = world.owner()
        await world.pull(owner)
        assert owner.settings.blob_cache is not None
        name = LAYER.partition(":")[2]
        file = owner.settings.blob_cache / "blobs" / "sha256" / name[:2] / name
        await world.gate.until(file.exists)
        stat = file.stat()
        file.chmod(0o600)
        with file.open("r+b") as handle:
            handle.write(b"\xff\xff")

        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        with pytest.raises(aiohttp.ClientPayloadError):
            await world.pull(world.strangers()[0])
        # The client comes again, as real ones do: the replica that brought it is not asked for now.
        assert await world.pull(world.strangers()[0]) == LAYER


@given(st.lists(st.tuples(st.ip_addresses(v=4).map(str), st.just(8081)), min_size=2, max_size=8, unique=True))
def test_one_replica_more_or_less_moves_its_own_share_alone(addresses: list[tuple[str, int]]) -> None:
    digests = [digest_of(str(number).encode()) for number in range(60)]
    before = {digest: owner_of(digest, addresses) for digest in digests}
    gone = addresses[0]
    after = {digest: owner_of(digest, addresses[1:]) for digest in digests}
    assert all(after[d] == before[d] for d in digests if before[d] != gone)
    assert owner_of(digests[0], reversed(addresses)) == before[digests[0]]


@pytest.mark.parametrize(
    "path",
    [
        f"/peer/a/b/c/blobs/sha256:1/{KEY}",
        f"/peer/a/b/../c/blobs/{LAYER}/{KEY}",
        f"/peer/a/b/C/blobs/{LAYER}/{KEY}",
        f"/peer/a/b/c%2fd/blobs/{LAYER}/{KEY}",
        f"/peer/a/b/c/blobs/{LAYER}/{KEY}?x=1",
        f"/peer/a.b/b/c/blobs/{LAYER}/{KEY}",
        f"/peer/a/b/c/blobs/{LAYER}",
        f"/peer/a/b/c/blobs/{LAYER}/{KEY}0",
    ],
)
def test_a_path_that_is_none_names_nothing(path: str) -> None:
    assert read_path(f"/peer/a/b/c/blobs/{LAYER}/{KEY}") is not None
    assert read_path(path) is None
