"""Several ranges in one request, as the stargz snapshotter asks: these bytes, and not the whole blob."""

from __future__ import annotations

import asyncio
import email
import email.policy
from pathlib import Path
from typing import Any

import pytest

from pullgate.upstream.ranges import RANGES_LIMIT
from tests.component.proxy.test_blob_cache import LARGE, SIZE, content, world_of
from tests.support.gate import APP, license_, registry, running
from tests.support.upstreams import ScriptedRegistry, faults

RANGES = [(0, 99), (5_000, 1_204_999), (SIZE - 70_000, SIZE - 1)]
WANTED = "bytes=" + ",".join(f"{first}-{last}" for first, last in RANGES)


def parts_of(body: bytes, headers: Any) -> list[tuple[str, bytes]]:
    """Content-Range and bytes of each part, as Python's own MIME parser reads them."""
    head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    assert message.is_multipart()
    return [(str(part["Content-Range"]), bytes(part.get_payload(decode=True))) for part in message.iter_parts()]


def expected(whole: bytes) -> list[tuple[str, bytes]]:
    return [(f"bytes {first}-{last}/{SIZE}", whole[first : last + 1]) for first, last in RANGES]


@pytest.mark.parametrize("kept", [True, False], ids=["from the disk", "from the upstream"])
async def test_each_part_comes_and_nothing_else(tmp_path: Path, kept: bool) -> None:
    async with world_of(tmp_path) as world:
        whole = await content(world)
        if kept:
            await world.pull()
        asked = world.asked()
        status, body, headers = await world.part(WANTED)
        assert status == 206
        assert parts_of(body, headers) == expected(whole)
        assert len(body) == int(headers["Content-Length"])
        assert len(body) < sum(last + 1 - first for first, last in RANGES) + 1000
        assert world.asked() == asked + (not kept)


async def test_without_a_disk_the_upstreams_parts_are_relayed(tmp_path: Path) -> None:
    digest = next(iter(LARGE.streams))
    async with ScriptedRegistry() as upstream:
        await upstream.push("my-org/large", "1", LARGE)
        documents = registry("upstream", upstream.host), license_("acme")
        async with running(tmp_path / "resources", *documents) as gate:
            path, key = f"/v2/proxy/{APP}/upstream/my-org/large/blobs/{digest}", gate.key("acme")
            whole = (await gate.get(path, key)).body
            answer = await gate.get(path, key, headers={"Range": WANTED})
            assert answer.status == 206
            assert parts_of(answer.body, answer.headers) == expected(whole)
            assert upstream.received("GET", "/blobs/")[-1].headers["Range"] == WANTED


async def test_a_storage_that_takes_one_range_alone_says_so_to_the_client(tmp_path: Path) -> None:
    """Google's storage answers 400; the stargz snapshotter then asks for one range at a time (its #81)."""
    async with world_of(tmp_path) as world:
        world.upstream.on("GET", "/blobs/", faults.answer(400), times=1)
        assert (await world.part(WANTED))[0] == 400
        assert (await world.part("bytes=5000-5009"))[0] == 206


async def test_the_parts_of_a_blob_that_still_comes_are_waited_for(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        whole = await content(world)
        gate = asyncio.Event()
        world.upstream.on("GET", "/blobs/", faults.hang_after(SIZE // 2, gate), times=1)
        pull = asyncio.create_task(world.pull())
        await world.gate.until(lambda: bool(world.incoming))
        part = asyncio.create_task(world.part(WANTED))
        await asyncio.sleep(0.2)
        gate.set()
        status, body, headers = await part
        assert (status, parts_of(body, headers)) == (206, expected(whole))
        await pull


async def test_too_many_ranges_are_416_and_ranges_that_overlap_never_cost_more_than_the_blob(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        await world.pull()
        many = "bytes=" + ",".join(f"{n}-{n}" for n in range(RANGES_LIMIT + 1))
        assert (await world.part(many))[0] == 416
        assert (await world.part("bytes=0-0," + " " * 5000 + "2-2"))[0] in {400, 416}
        overlapping = "bytes=" + ",".join("0-" for _ in range(50))
        status, body, _ = await world.part(overlapping)
        assert (status, len(body)) == (200, SIZE)
        status, _, headers = await world.part(f"bytes={SIZE}-,{SIZE + 5}-")
        assert (status, headers["Content-Range"]) == (416, f"bytes */{SIZE}")
        status, body, headers = await world.part(f"bytes=3-5,{SIZE}-")
        assert (status, len(body), headers["Content-Range"]) == (206, 3, f"bytes 3-5/{SIZE}")
