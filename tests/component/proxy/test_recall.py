"""A recent answer is given again, unless something that it depends on has changed since."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.catalog import WORKER, catalog, seed
from tests.support.gate import APP, Answer, Gate, license_, registry, running
from tests.support.images import image
from tests.support.upstreams import ScriptedRegistry

IMAGE = catalog()[WORKER, "1.0.0"]
PATH = f"/v2/proxy/{APP}/up/{WORKER}/manifests/1.0.0"
DOMAIN = "images.myapp.com"


@contextlib.asynccontextmanager
async def world(
    directory: Path, *entitlements: Any, cache: Any = None, **spec: Any
) -> AsyncIterator[tuple[Gate, ScriptedRegistry]]:
    async with ScriptedRegistry() as upstream:
        await seed(upstream)
        documents = [
            registry("up", upstream.host, domains=[DOMAIN], cache=cache or {}),
            license_("acme", *entitlements, **spec),
            license_("other"),
        ]
        async with running(directory / "folder", *documents, manifest_cache=2**20) as gate:
            yield gate, upstream


async def warm(gate: Gate, license_name: str = "acme", path: str = PATH, **headers: str) -> Answer:
    """Ask three times, so that the last answer can come from memory."""
    for _ in range(3):
        answer = await gate.get(path, gate.key(license_name), headers=headers)
        assert answer.status == 200
    return answer


def known(gate: Gate) -> int:
    return len(gate.proxy._recall._known)


async def test_the_second_hit_is_the_same_answer_and_counts_the_same(tmp_path: Path) -> None:
    async with world(tmp_path) as (gate, _):
        first = await gate.get(PATH, gate.key("acme"))
        again = [await gate.get(PATH, gate.key("acme")) for _ in range(3)]
        assert known(gate) == 1
        for answer in again:
            assert (answer.status, answer.body) == (200, first.body)
            own = {"x-request-id", "date", "x-pullgate-cache"}
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in own}
            assert kept == {k: first.headers[k] for k in kept}
        assert [a.headers["X-Pullgate-Cache"] for a in again] == ["hit"] * 3
        assert len({a.headers["X-Request-Id"] for a in again}) == 3
        records = gate.records()[1:]
        assert len({str({**r, "time": 0, "requestId": 0, "duration": 0}) for r in records}) == 1
        assert records[0]["registry"] == "up"
        tally = gate.proxy.usage.tally((APP, "acme"))
        assert tally is not None
        assert tally.document()["hours"][0][1] == 4
        value = gate.proxy.metrics.registry.get_sample_value
        assert value("pullgate_manifest_cache_total", {"result": "hit"}) == 3


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"suspended": {"reason": "invoice 77"}}, "LicenseSuspended"),
        ({"expiresAt": "2026-01-01T00:00:00Z"}, "LicenseExpired"),
    ],
)
async def test_a_license_that_ends_is_refused_whatever_is_known(
    tmp_path: Path, changed: dict[str, Any], fault: str
) -> None:
    async with world(tmp_path) as (gate, _):
        await warm(gate)
        await gate.apply(license_("acme", **changed))
        assert (await gate.until_status(PATH, gate.key("acme"), 403)).fault == fault


async def test_an_entitlement_that_is_taken_back_is_gone(tmp_path: Path) -> None:
    async with world(tmp_path) as (gate, _):
        await warm(gate)
        await gate.apply(license_("acme", {"repositories": ["my-org/something-else"]}))
        assert (await gate.until_status(PATH, gate.key("acme"), 403)).fault == "NotEntitled"


async def test_a_registry_that_is_suspended_or_gone_answers_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as (gate, upstream):
        await warm(gate)
        await gate.apply(registry("up", upstream.host, domains=[DOMAIN], suspend=True))
        assert (await gate.until_status(PATH, gate.key("acme"), 503)).fault == "RegistrySuspended"
        await gate.delete("Registry", "up")
        assert (await gate.until_status(PATH, gate.key("acme"), 403)).fault == "NotEntitled"


async def test_one_licenses_answer_is_not_anothers(tmp_path: Path) -> None:
    async with world(tmp_path) as (gate, _):
        await warm(gate)
        await gate.apply(license_("other", {"repositories": ["my-org/something-else"]}))
        assert (await gate.until_status(PATH, gate.key("other"), 403)).fault == "NotEntitled"
        assert (await gate.get(PATH, gate.key("acme"))).status == 200


async def test_the_host_is_part_of_the_question(tmp_path: Path) -> None:
    async with world(tmp_path) as (gate, _):
        path = f"/v2/{WORKER}/manifests/1.0.0"
        await warm(gate, path=path, Host=DOMAIN)
        assert (await gate.get(path, gate.key("acme"), headers={"Host": "elsewhere.com"})).fault == "NotEntitled"


async def test_what_a_client_accepts_is_part_of_the_question(tmp_path: Path) -> None:
    async with world(tmp_path) as (gate, upstream):
        await warm(gate)
        before = len(upstream.received("GET", "/manifests/"))
        await gate.get(PATH, gate.key("acme"), headers={"Accept": "application/vnd.oci.image.index.v1+json"})
        assert len(upstream.received("GET", "/manifests/")) == before + 1


async def test_a_tag_that_moved_is_seen_after_its_ttl(tmp_path: Path) -> None:
    async with world(tmp_path, cache={"tagTTL": "1s"}) as (gate, upstream):
        await warm(gate)
        assert known(gate) == 1
        moved = image("moved")
        await upstream.push(WORKER, "1.0.0", moved)
        async with asyncio.timeout(10):
            while (await gate.get(PATH, gate.key("acme"))).body != moved.manifest:
                await asyncio.sleep(0.05)


async def test_where_a_limit_or_a_tag_rule_stands_each_pull_goes_the_whole_way(tmp_path: Path) -> None:
    async with world(tmp_path / "1", limits={"pullsPerHour": 5}) as (gate, _):
        await warm(gate)
        assert known(gate) == 0
    rule = {"repositories": ["**"], "tags": {"match": ["1.*"]}}
    async with world(tmp_path / "2", rule) as (gate, _):
        await warm(gate)
        assert known(gate) == 0


async def test_a_test_as_a_customer_is_answered_anew(tmp_path: Path) -> None:
    async with world(tmp_path) as (gate, upstream):
        await warm(gate)
        before = len(upstream.received("GET", "/manifests/"))
        answer = await gate.get(PATH, gate.key("acme"), headers={"Cache-Control": "no-cache"})
        assert answer.headers["X-Pullgate-Cache"] == "miss"
        assert len(upstream.received("GET", "/manifests/")) == before + 1
