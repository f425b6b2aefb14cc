"""Lists as large as they are in the wild, and as hostile as a document may be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pullgate_proxy.lists.tag_pages import LARGE, TagPages
from tests.support.content import content_of
from tests.support.gate import APP, Answer, Gate, license_, registry, running
from tests.support.images import image
from tests.support.upstreams import ScriptedRegistry
from tests.support.upstreams.scripted_registry import document
from tests.support.upstreams.wire import Reply, Request

REPOSITORY = "rules/api"
BASE = f"/v2/proxy/{APP}/upstream/{REPOSITORY}"
TAGS = [f"1.{number}.{number % 7}" for number in range(30_000)]
RULED = license_("ruled", {"repositories": ["rules/*"], "tags": {"semver": ">=1.10 <1.29000"}})
ALLOWED = [tag for tag in TAGS if 10 <= int(tag.split(".")[1]) < 29_000]


@dataclass(frozen=True, slots=True)
class World:
    gate: Gate
    upstream: ScriptedRegistry

    async def get(self, end: str, license_name: str = "ruled") -> Answer:
        path = end if end.startswith("/") else f"{BASE}/{end}"
        return await self.gate.get(path, self.gate.key(license_name))

    def asked(self) -> int:
        """How often the upstream's list was asked for."""
        return len(self.upstream.received("GET", "/tags/list"))

    async def list_all(self, license_name: str = "ruled") -> list[str]:
        found, end = list[str](), "tags/list"
        while end:
            answer = await self.get(end, license_name)
            assert answer.status == 200, answer.body
            found += json.loads(answer.body)["tags"]
            end = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
        return found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with ScriptedRegistry() as upstream:
        await upstream.push(REPOSITORY, "1.20.6", image("large"))
        upstream.on("GET", "/tags/list", shows(TAGS))
        documents = [registry("upstream", upstream.host), license_("wide"), RULED]
        async with running(tmp_path / "resources", *documents) as gate:
            yield World(gate, upstream)


def shows(tags: list[str]) -> Callable[[Request, Reply], Reply]:
    body = {"name": REPOSITORY, "tags": tags}
    return lambda request, right: document(body)


async def test_a_whole_list_is_fetched_once_for_all_its_pages(world: World) -> None:
    assert await world.list_all() == ALLOWED
    assert await world.list_all("wide") == TAGS
    # Under a rule the upstream is asked for 1,000 at a time; without one the client's own query goes on.
    assert world.asked() == 2


async def test_many_who_want_the_same_large_list_at_once_cost_one_fetch(world: World) -> None:
    answers = await asyncio.gather(*(world.get("tags/list?n=5") for _ in range(20)))
    assert {answer.body for answer in answers} == {answers[0].body}
    assert world.asked() == 1


async def test_a_list_is_asked_for_anew_by_who_wants_it_fresh_and_where_tags_are_not_kept(world: World) -> None:
    fresh = {"Cache-Control": "no-cache"}
    for _ in range(2):
        await world.gate.get(f"{BASE}/tags/list", world.gate.key("ruled"), headers=fresh)
    assert world.asked() == 2
    await world.gate.apply(registry("upstream", world.upstream.host, cache={"tagTTL": "0s"}))
    async with asyncio.timeout(10):
        while await world.get("tags/list?n=1") and world.asked() < 4:
            await asyncio.sleep(0.01)


async def test_a_short_list_is_asked_for_each_time(world: World) -> None:
    world.upstream.heal()
    world.upstream.on("GET", "/tags/list", shows(TAGS[: LARGE - 1]))
    for _ in range(2):
        assert (await world.get("tags/list")).status == 200
    assert world.asked() == 2


async def test_pages_that_are_kept_have_a_bound(world: World) -> None:
    pages: TagPages = world.gate.proxy._forwarder._pages
    pages._limit = 4_000_000
    for number in range(5):
        assert (await world.get(f"tags/list?n={number + 1}&marker={number}", "wide")).status == 200
        assert 0 < pages.size <= 4_000_000
    assert len(pages._kept) == 1


HOSTILE = {
    "lists in lists": '{"tags": [' + "[]," * 500_000 + "0]}",
    "fields": '{"tags": [], ' + ",".join(f'"{number}": 1' for number in range(100_000)) + "}",
    "long numbers": '{"tags": [' + ",".join(["1" * 4000] * 900) + "]}",
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("end", ["tags/list", f"referrers/sha256:{'0' * 64}"])
async def test_a_list_that_would_hold_the_proxy_is_a_fault_of_its_upstream(world: World, kind: str, end: str) -> None:
    body = HOSTILE[kind].replace('"tags"', '"manifests"' if end.startswith("referrers") else '"tags"')
    world.upstream.heal()
    reply = Reply(200, (("Content-Type", "application/json"),), content_of(body.encode()))
    world.upstream.on("GET", f"/{end}", lambda request, right: reply)
    assert (await world.get(end, "wide")).fault == "UpstreamProtocol"
    assert (await world.gate.get("/v2/", world.gate.key("wide"))).status == 200
