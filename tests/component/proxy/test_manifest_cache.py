"""Manifests from memory: asked for once, for as long as the Registry says, and never past a License."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from pullgate import faults
from pullgate.upstream.manifest import FetchedManifest, ResolvedManifest
from pullgate.upstream.request import UpstreamRequest
from pullgate_proxy.cache.manifests import ENTRY_COST, ManifestCache
from pullgate_proxy.cache.where import Where
from tests.support.catalog import API, SECRET, WORKER, catalog, seed
from tests.support.gate import ACCEPT, APP, Gate, basic, license_, registry, running, secret
from tests.support.images import image
from tests.support.upstreams import ScriptedRegistry
from tests.support.upstreams import faults as spoil

PATH = f"/v2/proxy/{APP}/up/{WORKER}/manifests"
IMAGE = catalog()[WORKER, "1.0.0"]
MIB = 1024 * 1024


@contextlib.asynccontextmanager
async def cached(directory: Path, **cache: Any) -> AsyncIterator[tuple[Gate, ScriptedRegistry]]:
    async with ScriptedRegistry("basic") as upstream:
        await seed(upstream)
        documents = [
            secret("vendor", upstream.username, upstream.password),
            registry("up", upstream.host, secret="vendor", cache=cache),
            license_("acme"),
        ]
        async with running(directory / "folder", *documents, manifest_cache=MIB) as gate:
            yield gate, upstream


def asked(upstream: ScriptedRegistry, method: str = "GET|HEAD") -> int:
    return len([r for r in upstream.received(method, "/manifests/") if "Authorization" in r.headers])


async def test_a_tag_and_its_digest_are_asked_for_once_within_the_ttl(tmp_path: Path) -> None:
    async with cached(tmp_path) as (gate, upstream):
        key = gate.key("acme")
        first = await gate.get(f"{PATH}/1.0.0", key)
        assert (first.status, first.headers["X-Pullgate-Cache"]) == (200, "miss")
        before = asked(upstream)
        for reference in ("1.0.0", IMAGE.digest):
            for method in ("GET", "HEAD"):
                answer = await gate.ask(method, f"{PATH}/{reference}", key)
                assert (answer.status, answer.headers["X-Pullgate-Cache"]) == (200, "hit")
                assert answer.headers["Docker-Content-Digest"] == IMAGE.digest
                assert answer.headers["Content-Length"] == str(len(IMAGE.manifest))
                assert answer.body == (IMAGE.manifest if method == "GET" else b"")
        assert asked(upstream) == before
        assert [record["cache"] for record in gate.records()][-1] == "hit"


async def test_many_at_once_share_one_request(tmp_path: Path) -> None:
    async with cached(tmp_path) as (gate, upstream):
        key = gate.key("acme")
        answers = await asyncio.gather(*(gate.get(f"{PATH}/1.0.0", key) for _ in range(30)))
        assert {answer.status for answer in answers} == {200}
        assert asked(upstream, "GET") == 1


async def test_after_the_ttl_a_head_tells_whether_it_is_still_the_same(tmp_path: Path) -> None:
    async with cached(tmp_path, tagTTL="0s") as (gate, upstream):
        key = gate.key("acme")
        await gate.get(f"{PATH}/1.0.0", key)
        gets = asked(upstream, "GET")
        answer = await gate.get(f"{PATH}/1.0.0", key)
        assert (answer.headers["X-Pullgate-Cache"], answer.body) == ("revalidated", IMAGE.manifest)
        assert asked(upstream, "GET") == gets
        moved = image("another")
        await upstream.push(WORKER, "1.0.0", moved)
        answer = await gate.get(f"{PATH}/1.0.0", key)
        assert (answer.headers["X-Pullgate-Cache"], answer.body) == ("miss", moved.manifest)


async def test_a_copy_stands_in_for_an_upstream_that_is_down_and_says_so(tmp_path: Path) -> None:
    async with cached(tmp_path, tagTTL="0s") as (gate, upstream):
        key = gate.key("acme")
        await gate.get(f"{PATH}/1.0.0", key)
        upstream.on("GET|HEAD", "/manifests/", spoil.answer(500))
        answer = await gate.get(f"{PATH}/1.0.0", key)
        assert (answer.status, answer.headers["X-Pullgate-Cache"]) == (200, "stale")
        assert answer.body == IMAGE.manifest
        other = await gate.get(f"/v2/proxy/{APP}/up/{API}/manifests/stable", key)
        assert (other.status, other.fault) == (502, "UpstreamError")
        text = gate.proxy.metrics.render().decode()
        assert 'pullgate_manifest_cache_total{result="stale"} 1.0' in text


@pytest.mark.parametrize(("status", "fault"), [(404, "ManifestUnknown"), (403, "UpstreamForbidden")])
async def test_a_definite_answer_of_the_upstream_is_not_covered_up(tmp_path: Path, status: int, fault: str) -> None:
    async with cached(tmp_path, tagTTL="0s") as (gate, upstream):
        key = gate.key("acme")
        await gate.get(f"{PATH}/1.0.0", key)
        upstream.on("GET|HEAD", "/manifests/", spoil.refuse(status, "DENIED"), after_login=True)
        assert (await gate.get(f"{PATH}/1.0.0", key)).fault == fault


async def test_without_stale_if_error_nothing_old_is_served(tmp_path: Path) -> None:
    async with cached(tmp_path, tagTTL="0s", staleIfError="0s") as (gate, upstream):
        key = gate.key("acme")
        await gate.get(f"{PATH}/1.0.0", key)
        upstream.on("GET|HEAD", "/manifests/", spoil.answer(500))
        assert (await gate.get(f"{PATH}/1.0.0", key)).fault == "UpstreamError"


async def test_a_test_as_a_customer_goes_upstream_whatever_is_kept(tmp_path: Path) -> None:
    async with cached(tmp_path) as (gate, upstream):
        key, fresh = gate.key("acme"), {"Cache-Control": "no-cache"}
        await gate.get(f"{PATH}/1.0.0", key)
        before = asked(upstream)
        assert (await gate.get(f"{PATH}/1.0.0", key, headers=fresh)).headers["X-Pullgate-Cache"] == "miss"
        assert asked(upstream) > before
        upstream.on("GET|HEAD", "/manifests/", spoil.answer(500))
        assert (await gate.get(f"{PATH}/1.0.0", key, headers=fresh)).fault == "UpstreamError"
        assert (await gate.get(f"{PATH}/1.0.0", key)).headers["X-Pullgate-Cache"] == "hit"


async def test_no_cache_is_read_from_each_line_of_its_field(tmp_path: Path) -> None:
    async with cached(tmp_path) as (gate, _):
        key = gate.key("acme")
        await gate.get(f"{PATH}/1.0.0", key)
        lines = CIMultiDict([("Cache-Control", "max-age=0"), ("Cache-Control", "no-cache")])
        lines.extend({"Authorization": basic("acme", key), "Accept": ACCEPT})
        async with gate.session.get(f"{gate.url}{PATH}/1.0.0", headers=lines) as answer:
            assert answer.headers["X-Pullgate-Cache"] == "miss"


async def test_a_hit_is_for_those_alone_who_may_pull_it_now(tmp_path: Path) -> None:
    async with cached(tmp_path) as (gate, _):
        key = gate.key("acme")
        path = f"/v2/proxy/{APP}/up/{SECRET}/manifests/1.0.0"
        assert (await gate.get(path, key)).status == 200
        await gate.apply(license_("other", {"repositories": [WORKER]}))
        await gate.until_status(f"{PATH}/1.0.0", gate.key("other"), 200)
        for reference in ("1.0.0", catalog()[SECRET, "1.0.0"].digest):
            refused = await gate.get(f"/v2/proxy/{APP}/up/{SECRET}/manifests/{reference}", gate.key("other"))
            assert refused.fault == "NotEntitled"
            elsewhere = await gate.get(f"{PATH}/{catalog()[SECRET, '1.0.0'].digest}", gate.key("other"))
            assert elsewhere.status == 404  # known content, and not of this repository
        await gate.apply(license_("acme", suspended={"reason": "unpaid"}))
        await gate.until_status(path, key, 403)


async def test_clients_of_other_types_get_no_others_answer_for_a_tag(tmp_path: Path) -> None:
    async with cached(tmp_path) as (gate, _):
        key = gate.key("acme")
        await gate.get(f"{PATH}/1.0.0", key, headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
        other = await gate.get(f"{PATH}/1.0.0", key, headers={"Accept": "application/vnd.oci.image.index.v1+json"})
        assert other.headers.get("X-Pullgate-Cache") != "hit"


# --- the bounds, without a server


class Upstream:
    """Gives a manifest of `size` bytes for each digest or tag."""

    def __init__(self, size: int) -> None:
        self.size, self.asked = size, 0
        self.error: faults.Fault | None = None

    async def fetch_manifest(self, request: UpstreamRequest) -> FetchedManifest:
        """GET."""
        self.asked += 1
        if self.error is not None:
            raise self.error
        return FetchedManifest(bytes(self.size), "application/json", f"sha256:{request.reference:0>64}")

    async def resolve_manifest(self, request: UpstreamRequest) -> ResolvedManifest:
        """HEAD."""
        found = await self.fetch_manifest(request)
        return ResolvedManifest(200, found.digest, found.media_type, len(found.body))


WHERE = Where(("my-app", "up", "uid"), "quay.io", 30.0, 60.0)


def free() -> None:
    """The upstream may be asked."""


def of(tag: str) -> UpstreamRequest:
    return UpstreamRequest("GET", "a/b", "manifests", tag)


async def test_no_more_is_kept_than_the_bound_and_the_least_used_goes() -> None:
    upstream, now = Upstream(1000), [0.0]
    cache = ManifestCache(10 * (1000 + ENTRY_COST), lambda: now[0], lambda _: None)
    for number in range(25):
        await cache.fetch(WHERE, of(str(number)), upstream, fresh=False, spend=free)
        await cache.fetch(WHERE, of("0"), upstream, fresh=False, spend=free)
        assert cache.size <= 10 * (1000 + ENTRY_COST)
    assert (await cache.fetch(WHERE, of("0"), upstream, fresh=False, spend=free))[1] == "hit"
    assert (await cache.fetch(WHERE, of("3"), upstream, fresh=False, spend=free))[1] == "miss"


async def test_one_manifest_does_not_push_out_all_others() -> None:
    upstream = Upstream(1000)
    cache = ManifestCache(2000, lambda: 0.0, lambda _: None)
    await cache.fetch(WHERE, of("1"), upstream, fresh=False, spend=free)
    assert cache.size == 0


async def test_a_copy_is_not_older_than_the_registry_allows() -> None:
    upstream, now = Upstream(10), [0.0]
    cache = ManifestCache(MIB, lambda: now[0], lambda _: None)
    await cache.fetch(WHERE, of("1"), upstream, fresh=False, spend=free)
    upstream.error = faults.UpstreamUnreachable("quay.io", "refused")
    now[0] = 60.0
    assert (await cache.fetch(WHERE, of("1"), upstream, fresh=False, spend=free))[1] == "stale"
    now[0] = 60.1
    with pytest.raises(faults.UpstreamUnreachable):
        await cache.fetch(WHERE, of("1"), upstream, fresh=False, spend=free)


async def test_a_registry_made_anew_under_the_same_name_has_nothing_of_the_old_one() -> None:
    upstream = Upstream(10)
    cache = ManifestCache(MIB, lambda: 0.0, lambda _: None)
    await cache.fetch(WHERE, of("1"), upstream, fresh=False, spend=free)
    for other in (
        Where(("my-app", "up", "another uid"), "quay.io", 30.0, 60.0),
        Where(WHERE.registry, "elsewhere.example", 30.0, 60.0),
    ):
        assert (await cache.fetch(other, of("1"), upstream, fresh=False, spend=free))[1] == "miss"


async def test_the_one_who_began_may_leave_and_the_others_get_their_answer() -> None:
    upstream, gate = Upstream(10), asyncio.Event()
    fetch = upstream.fetch_manifest

    class Slow(Upstream):
        async def fetch_manifest(self, request: UpstreamRequest) -> FetchedManifest:
            await gate.wait()
            return await fetch(request)

    slow = Slow(10)
    cache = ManifestCache(MIB, lambda: 0.0, lambda _: None)
    first = asyncio.create_task(cache.fetch(WHERE, of("1"), slow, fresh=False, spend=free))
    await asyncio.sleep(0)
    second = asyncio.create_task(cache.fetch(WHERE, of("1"), slow, fresh=False, spend=free))
    await asyncio.sleep(0)
    first.cancel()
    gate.set()
    assert (await second)[0].body == bytes(10)
    assert upstream.asked == 1
    await cache.close()
