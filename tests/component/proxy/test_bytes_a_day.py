"""bytesPerDay is never exceeded on one replica: a body's bytes are reserved before the first of them is sent."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pullgate.faults import LimitReached
from pullgate.licensing.usage import Counts
from pullgate.policy.facts import LicenseFacts, Limits
from pullgate_proxy.limits.limits import DAY, Gatekeeper, PeerUsage
from pullgate_proxy.limits.usage import UsageBook
from pullgate_proxy.request.parse import Kind
from tests.support.catalog import WORKER, catalog, seed
from tests.support.content import Content
from tests.support.gate import APP, Gate, basic, license_, registry, running
from tests.support.images import Image, large_image
from tests.support.upstreams import ScriptedRegistry, faults
from tests.support.upstreams.s3_like import S3Like

MIB = 2**20
SMALL = large_image(4 * MIB)
"""A layer of a little more than 4 MiB."""
LARGE = large_image(24 * MIB)
WORKER_PATH = f"/v2/proxy/{APP}/up/{WORKER}"


@dataclass(frozen=True, slots=True)
class Unsized:
    """`content`, sent in chunks without a Content-Length."""

    content: Content

    @property
    def size(self) -> None:
        """See Content."""
        return

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """See Content."""
        return self.content.chunks(start, stop)


def layer_of(image: Image) -> str:
    return next(iter(image.streams))


def size_of(image: Image) -> int:
    return image.streams[layer_of(image)].size


def blob(image: Image) -> str:
    return f"/v2/proxy/{APP}/up/my-org/large/blobs/{layer_of(image)}"


@dataclass(frozen=True, slots=True)
class World:
    gate: Gate
    upstream: ScriptedRegistry

    @contextlib.asynccontextmanager
    async def start(self, path: str, license_name: str = "acme") -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer's head, over a new connection. The caller may read the body or leave it."""
        headers = {"Authorization": basic("acme", self.gate.key(license_name))}
        async with aiohttp.ClientSession() as session, session.get(self.gate.url + path, headers=headers) as response:
            yield response

    async def bytes_of(self, path: str) -> tuple[int, int]:
        """Status, and the number of body bytes received, even if the body broke off."""
        count = 0
        async with self.start(path) as response:
            with contextlib.suppress(aiohttp.ClientPayloadError):
                async for chunk in response.content.iter_any():
                    count += len(chunk)
        return response.status, count


@contextlib.asynccontextmanager
async def world_of(directory: Path, limit: str, *, delivery: str = "Stream", **settings: Any) -> AsyncIterator[World]:
    """A License `acme` with `limit` bytes a day, and `other` without."""
    if (left := DAY - time.time() % DAY) < 30:
        await asyncio.sleep(left + 0.1)
    async with ScriptedRegistry() as upstream:
        await seed(upstream)
        for tag, image in (("small", SMALL), ("large", LARGE)):
            await upstream.push("my-org/large", tag, image)
        documents = [
            registry("up", upstream.host, delivery=delivery, network={"allowPrivate": True}),
            license_("acme", limits={"bytesPerDay": limit}),
            license_("other"),
        ]
        async with running(directory / "resources", *documents, **settings) as gate:
            yield World(gate, upstream)


@pytest.mark.parametrize("keeps_blobs", [False, True], ids=["streamed", "joined"])
async def test_twenty_parallel_starts_never_send_more_than_the_limit(tmp_path: Path, keeps_blobs: bool) -> None:
    settings: dict[str, Any] = {"blob_cache": tmp_path / "cache"} if keeps_blobs else {}
    async with world_of(tmp_path, "9Mi", **settings) as world:
        slow = asyncio.Event()
        world.upstream.on("GET", "/blobs/", faults.hang_after(MIB, slow))
        async with contextlib.AsyncExitStack() as stack:
            answers = await asyncio.gather(
                *(stack.enter_async_context(world.start(blob(SMALL))) for _ in range(20)),
            )
            assert sorted(answer.status for answer in answers) == [200] * 2 + [429] * 18
            refused = next(answer for answer in answers if answer.status == 429)
            assert "needs 4.001Mi for this body and has 1021Ki left of its 9Mi of today" in await refused.text()
            assert abs(int(refused.headers["Retry-After"]) - (DAY - time.time() % DAY)) < 5
            async with world.start(blob(SMALL), "other") as untouched:
                assert untouched.status == 200
            slow.set()
            sent = [len(await answer.read()) for answer in answers if answer.status == 200]
        assert sum(sent) == 2 * size_of(SMALL) < 9 * MIB


async def test_a_kept_blob_counts_as_any_other(tmp_path: Path) -> None:
    async with world_of(tmp_path, "9Mi", blob_cache=tmp_path / "cache") as world:
        got = [await world.bytes_of(blob(SMALL)) for _ in range(3)]
        assert [status for status, _ in got] == [200, 200, 429]
        assert {record["cache"] for record in world.gate.records() if record["status"] == 200} == {"miss", "hit"}


async def test_a_body_that_breaks_gives_back_what_was_not_sent(tmp_path: Path) -> None:
    async with world_of(tmp_path, "40Mi") as world:
        async with world.start(blob(LARGE)) as broken:
            assert broken.status == 200
            assert (await world.bytes_of(blob(LARGE)))[0] == 429
        await world.gate.until(lambda: any(r["reason"] == "ClientGone" for r in world.gate.records()))
        assert await world.bytes_of(blob(LARGE)) == (200, size_of(LARGE))


async def test_a_part_reserves_its_own_length(tmp_path: Path) -> None:
    async with world_of(tmp_path, "2Mi") as world:
        key = world.gate.key("acme")
        part = {"Range": f"bytes=0-{MIB - 1}"}
        assert (await world.gate.get(blob(SMALL), key)).status == 429
        got = [(await world.gate.get(blob(SMALL), key, headers=part)).status for _ in range(3)]
        assert got == [206, 206, 429]


async def test_bodies_without_a_length_end_where_the_limit_does(tmp_path: Path) -> None:
    async with world_of(tmp_path, "9Mi") as world:
        layer = SMALL.streams[layer_of(SMALL)]
        world.upstream.on("GET", "/blobs/", faults.body(Unsized(layer)))
        assert await world.bytes_of(blob(SMALL)) == (200, size_of(SMALL))
        got = await asyncio.gather(*(world.bytes_of(blob(SMALL)) for _ in range(8)))
        assert 0 < sum(count for _, count in got) <= 9 * MIB - size_of(SMALL)
        assert any(r["reason"] == "LimitReached" and r.get("aborted") for r in world.gate.records())


async def test_a_head_costs_no_bytes_and_is_answered_when_all_are_used(tmp_path: Path) -> None:
    async with world_of(tmp_path, "5Mi") as world:
        key = world.gate.key("acme")
        for _ in range(3):
            assert (await world.gate.ask("HEAD", blob(SMALL), key)).status == 200
        assert (await world.bytes_of(blob(SMALL)))[0] == 200
        assert (await world.gate.ask("HEAD", f"{WORKER_PATH}/manifests/1.0.0", key)).status == 200


@pytest.mark.parametrize("path", ["manifests/1.0.0", "tags/list", f"referrers/{catalog()[WORKER, '1.0.0'].digest}"])
async def test_manifests_and_lists_are_refused_when_their_bytes_are_used(tmp_path: Path, path: str) -> None:
    async with world_of(tmp_path, "10") as world:
        key = world.gate.key("acme")
        answer = await world.gate.get(f"{WORKER_PATH}/{path}", key)
        assert (answer.status, answer.fault) == (429, "LimitReached")
        assert "has 10 bytes left of its 10 bytes of today" in answer.message
        tally = world.gate.proxy.usage.tally((APP, "acme"))
        assert tally is not None
        assert tally.total(time.time()) == Counts(pulls=0, bytes=0, denied=1)


async def test_a_list_counts_and_is_not_asked_for_once_all_is_used(tmp_path: Path) -> None:
    async with world_of(tmp_path, "1Ki") as world:
        key = world.gate.key("acme")
        size = len((await world.gate.get(f"{WORKER_PATH}/tags/list", key)).body)
        statuses = [(await world.gate.get(f"{WORKER_PATH}/tags/list", key)).status for _ in range(1024 // size)]
        assert statuses == [200] * (1024 // size - 1) + [429]


async def test_redirected_bytes_are_neither_counted_nor_reserved(tmp_path: Path) -> None:
    async with S3Like() as store, world_of(tmp_path, "1Ki", delivery="Redirect") as world:
        world.upstream.blob_store = store
        key = world.gate.key("acme")
        assert [(await world.gate.get(blob(LARGE), key)).status for _ in range(2)] == [307, 307]


def test_reserved_bytes_are_free_again_after_the_request_and_used_ones_are_not() -> None:
    book = UsageBook()
    keeper = Gatekeeper(book, PeerUsage(book.instance))
    facts, limits = LicenseFacts("my-app", "acme", ()), Limits(bytes_per_day=100)
    first, second = (keeper.enter(facts, limits, Kind.BLOBS, 0.0) for _ in range(2))
    assert keeper.reserve(first, 60, 60, 0.0) == 60
    with pytest.raises(LimitReached, match="needs 50 bytes for this body and has 40 bytes left"):
        keeper.reserve(second, 50, 50, 0.0)
    assert keeper.reserve(second, 1, 50, 0.0) == 40
    with pytest.raises(LimitReached, match="used its 100 bytes of today"):
        keeper.enter(facts, limits, Kind.BLOBS, 0.0)
    book.note(("my-app", "acme"), Counts(bytes=10), "", 0.0)
    keeper.leave(first)
    assert keeper.reserve(second, 50, 50, 0.0) == 50
    keeper.leave(second)
    with pytest.raises(LimitReached):
        keeper.reserve(keeper.enter(facts, limits, Kind.BLOBS, 0.0), 91, 91, 0.0)


def test_a_body_over_midnight_is_reserved_of_the_new_day_too() -> None:
    book = UsageBook()
    keeper = Gatekeeper(book, PeerUsage(book.instance))
    facts, limits = LicenseFacts("my-app", "acme", ()), Limits(bytes_per_day=100)
    midnight = 1_800_000_000 // DAY * DAY
    keeper.reserve(keeper.enter(facts, limits, Kind.BLOBS, midnight - 1), 60, 60, midnight - 1)
    after = keeper.enter(facts, limits, Kind.BLOBS, midnight + 1)
    with pytest.raises(LimitReached):
        keeper.reserve(after, 50, 50, midnight + 1)
