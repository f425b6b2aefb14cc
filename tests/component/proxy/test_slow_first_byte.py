"""A registry that first unpacks or thaws a layer is waited for as long as its Registry says, and is not down."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from pullgate.oci.digest import digest_of
from tests.component.proxy.test_peers import LARGE, LAYER, world_of
from tests.support.gate import APP, license_, registry, running
from tests.support.upstreams import ScriptedRegistry, faults

BLOB = f"/v2/proxy/{APP}/upstream/my-org/large/blobs/{LAYER}"


async def slow_registry(gate: asyncio.Event) -> ScriptedRegistry:
    """An upstream whose blobs begin when `gate` opens. Artifactory takes 15 s and more for some layers."""
    upstream = ScriptedRegistry()
    upstream.on("GET", "/blobs/", faults.hang(gate))
    return upstream


async def open_after(seconds: float, gate: asyncio.Event) -> None:
    """Let the blobs begin."""
    await asyncio.sleep(seconds)
    gate.set()


@pytest.mark.parametrize("kept", [True, False], ids=["with a disk", "without a disk"])
async def test_a_blob_that_begins_after_11_seconds_is_served_without_any_setting(tmp_path: Path, kept: bool) -> None:
    gate = asyncio.Event()
    async with await slow_registry(gate) as upstream:
        await upstream.push("my-org/large", "1", LARGE)
        settings = {"blob_cache": tmp_path / "cache"} if kept else {}
        documents = registry("upstream", upstream.host), license_("acme")
        async with running(tmp_path / "resources", *documents, **settings) as proxy:
            key = proxy.key("acme")
            opened = asyncio.create_task(open_after(11, gate))
            answers = await asyncio.gather(*(proxy.get(BLOB, key) for _ in range(3)))
            await opened
            assert [digest_of(answer.body) for answer in answers] == [LAYER] * 3


async def test_the_registrys_own_bound_holds_for_manifests_and_blobs(tmp_path: Path) -> None:
    async with ScriptedRegistry() as upstream:
        await upstream.push("my-org/large", "1", LARGE)
        upstream.on("GET|HEAD", "/(blobs|manifests)/", faults.hang())
        documents = registry("upstream", upstream.host, timeouts={"firstByte": "1s"}), license_("acme")
        async with running(tmp_path / "resources", *documents) as proxy:
            for path in (BLOB, f"/v2/proxy/{APP}/upstream/my-org/large/manifests/1"):
                began = time.monotonic()
                answer = await proxy.get(path, proxy.key("acme"))
                assert (answer.fault, answer.status) == ("UpstreamTimeout", 504)
                assert "in 1 s" in answer.message
                assert time.monotonic() - began < 3


async def test_a_slow_layer_is_pulled_by_whom_its_replica_keeps_waiting_and_the_replica_stays_in_use(
    tmp_path: Path,
) -> None:
    async with world_of(tmp_path, 2, first_byte_timeout=30.0) as world:
        gate = asyncio.Event()
        world.upstream.on("GET", "/blobs/", faults.hang(gate))
        opened = asyncio.create_task(open_after(6, gate))
        stranger = world.strangers()[0]
        assert await world.pull(stranger) == LAYER
        await opened
        peers = stranger.caches._peers
        assert peers is not None
        assert peers.membership.owner(LAYER) == world.owner().settings.peer_listen, "it is still asked for its blobs"
