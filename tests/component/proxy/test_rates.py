"""How often a License may have the upstream asked: each kind has its own bound, which a fleet does not meet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pullgate.faults import LimitReached
from pullgate.policy.facts import LicenseFacts, Limits
from pullgate_proxy.limits.buckets import Buckets
from pullgate_proxy.limits.rates import BOUNDS, MANIFESTS_PER_PULL, Asks, Bound, Rates
from tests.support.catalog import API, STABLE, WORKER, catalog, seed
from tests.support.gate import APP, Gate, license_, registry, running
from tests.support.upstreams import ScriptedRegistry

INDEX = f"/v2/proxy/{APP}/up/{API}"
IMAGE = f"/v2/proxy/{APP}/up/{WORKER}"
FRESH = {"Cache-Control": "no-cache"}
ACME = LicenseFacts("my-app", "acme", ())
FEW = {asks: Bound(3, 60.0) for asks in Asks}


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@contextlib.asynccontextmanager
async def world_of(directory: Path, **license_spec: Any) -> AsyncIterator[tuple[Gate, ScriptedRegistry]]:
    async with ScriptedRegistry() as upstream:
        await seed(upstream)
        documents = [registry("up", upstream.host), license_("acme", **license_spec), license_("other")]
        async with running(directory / "resources", *documents, manifest_cache=2**20) as gate:
            yield gate, upstream


@pytest.mark.parametrize(
    ("method", "path", "headers", "asks"),
    [
        ("GET", f"{INDEX}/manifests/{STABLE}", FRESH, Asks.MANIFESTS),
        ("HEAD", f"{INDEX}/manifests/{STABLE}", FRESH, Asks.HEADS),
        ("HEAD", f"{IMAGE}/blobs/{catalog()[WORKER, '1.0.0'].config}", {}, Asks.HEADS),
        ("GET", f"{IMAGE}/tags/list", {}, Asks.LISTS),
        ("HEAD", f"{IMAGE}/tags/list", {}, Asks.LISTS),
        ("GET", f"{INDEX}/referrers/{catalog()[API, STABLE].digest}", {}, Asks.LISTS),
    ],
    ids=["index", "head", "blob head", "tags", "head of tags", "referrers"],
)
async def test_each_kind_has_a_bound_of_its_own_that_the_refusal_names(
    tmp_path: Path, clock: HandClock, method: str, path: str, headers: dict[str, str], asks: Asks
) -> None:
    async with world_of(tmp_path) as (gate, upstream):
        gate.proxy.rates = Rates(clock, FEW)
        key = gate.key("acme")
        got = [await gate.ask(method, path, key, headers=headers) for _ in range(4)]
        assert [answer.status for answer in got] == [200, 200, 200, 429]
        assert got[-1].fault == "LimitReached"
        assert f"license acme asks for too many {asks}: 3 at once and 1 a minute may reach the regis" in got[-1].reason
        assert got[-1].headers["Retry-After"] == "60"
        asked = len(upstream.requests)
        assert (await gate.ask(method, path, key, headers=headers)).status == 429
        assert len(upstream.requests) == asked
        assert (await gate.ask(method, path, gate.key("other"), headers=headers)).status == 200
        clock.now += 60
        assert (await gate.ask(method, path, key, headers=headers)).status == 200


async def test_invented_digests_under_a_tag_rule_have_a_bound(tmp_path: Path, clock: HandClock) -> None:
    rule = {"repositories": [API], "tags": {"match": [STABLE]}}
    async with world_of(tmp_path, entitlements=[rule]) as (gate, upstream):
        gate.proxy.rates = Rates(clock, FEW)
        key = gate.key("acme")
        paths = [f"{INDEX}/manifests/sha256:{number:064x}" for number in range(4)]
        assert [(await gate.get(path, key)).status for path in paths] == [403, 403, 403, 429]
        asked = len(upstream.requests)
        assert "too many unproven digests" in (await gate.get(paths[0], key)).message
        assert len(upstream.requests) == asked


async def test_answers_from_memory_and_joined_requests_cost_nothing(tmp_path: Path, clock: HandClock) -> None:
    async with world_of(tmp_path) as (gate, _):
        gate.proxy.rates = Rates(clock, {asks: Bound(1, 60.0) for asks in Asks})
        key = gate.key("acme")
        for method in ("HEAD", "GET"):
            asked = [gate.ask(method, f"{INDEX}/manifests/{STABLE}", key) for _ in range(20)]
            assert {answer.status for answer in await asyncio.gather(*asked)} == {200}
            for _ in range(5):
                assert (await gate.ask(method, f"{INDEX}/manifests/{STABLE}", key)).status == 200


async def test_a_license_that_asked_too_often_costs_no_joiner_of_another_license_its_answer(
    tmp_path: Path, clock: HandClock
) -> None:
    async with world_of(tmp_path) as (gate, _):
        gate.proxy.rates = Rates(clock, {asks: Bound(1, 60.0) for asks in Asks})
        path = f"{INDEX}/manifests/{STABLE}"
        assert (await gate.get(path, gate.key("acme"), headers=FRESH)).status == 200
        keys = [gate.key(name) for name in ("acme", "other", "acme", "other")]
        got = await asyncio.gather(*(gate.get(path, key, headers=FRESH) for key in keys))
        assert [got[1].status, got[3].status] == [200, 200]


async def test_a_fleet_costs_one_request_of_each_kind_for_each_image(tmp_path: Path, clock: HandClock) -> None:
    async with world_of(tmp_path) as (gate, _):
        gate.proxy.rates = Rates(clock, {asks: Bound(2, 3600.0) for asks in Asks})
        key = gate.key("acme")
        paths = [f"{INDEX}/manifests/{STABLE}", f"{IMAGE}/manifests/1.0.0"]
        asked = [gate.ask(method, path, key) for method in ("HEAD", "GET") for path in paths for _ in range(200)]
        assert {answer.status for answer in await asyncio.gather(*asked)} == {200}


@pytest.mark.parametrize(("asks", "count"), [(Asks.HEADS, 10_000), (Asks.MANIFESTS, 10_000), (Asks.LISTS, 600)])
def test_a_rollout_of_500_nodes_fits_even_without_a_cache(clock: HandClock, asks: Asks, count: int) -> None:
    rates = Rates(clock)
    for _ in range(count):
        rates.spend(ACME, asks)
    with pytest.raises(LimitReached):
        rates.spend(ACME, asks)
    clock.now += 60
    for _ in range(int(60 / BOUNDS[asks].seconds)):
        rates.spend(ACME, asks)


async def test_indexes_are_bounded_by_pulls_an_hour(tmp_path: Path) -> None:
    async with world_of(tmp_path, limits={"pullsPerHour": 1}) as (gate, _):
        key = gate.key("acme")
        path = f"{INDEX}/manifests/{STABLE}"
        got = [await gate.get(path, key, headers=FRESH) for _ in range(MANIFESTS_PER_PULL + 1)]
        assert [answer.status for answer in got] == [200] * MANIFESTS_PER_PULL + [429]
        assert "10 at once and 10 an hour may reach the registry" in got[-1].message


def test_pulls_an_hour_bound_manifests_alone_and_a_raised_limit_holds_at_once(clock: HandClock) -> None:
    rates = Rates(clock)
    limited = LicenseFacts("my-app", "acme", (), limits=Limits(pulls_per_hour=1))
    for _ in range(MANIFESTS_PER_PULL):
        rates.spend(limited, Asks.MANIFESTS)
    with pytest.raises(LimitReached) as caught:
        rates.spend(limited, Asks.MANIFESTS)
    assert caught.value.retry_after == 360
    for _ in range(600):
        rates.spend(limited, Asks.HEADS)
        rates.spend(limited, Asks.LISTS)
    rates.spend(LicenseFacts("my-app", "acme", (), limits=Limits(pulls_per_hour=2)), Asks.MANIFESTS)


def test_no_more_buckets_are_remembered_than_the_bound(clock: HandClock) -> None:
    buckets = Buckets(clock, 3)
    assert buckets.take("often", 1, 60.0) == 0
    for number in range(100):
        buckets.take(number, 1, 60.0)
        assert buckets.take("often", 1, 60.0) == 60
    assert len(buckets) == 3
