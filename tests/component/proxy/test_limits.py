"""A License's limits hold for each request, across replicas; a refusal has the words of the faults table."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from pullgate.faults import LimitReached
from pullgate.licensing.usage import HOUR, Counts, Tally
from pullgate.policy.facts import LicenseFacts, Limits
from pullgate_proxy.limits.limits import Gatekeeper, PeerUsage
from pullgate_proxy.limits.usage import UsageBook
from pullgate_proxy.request.parse import Kind
from tests.support.catalog import WORKER, catalog
from tests.support.clients.daemonless import Crane
from tests.support.gate import APP, Gate, license_, registry, running, secret
from tests.support.ports import free_port
from tests.support.upstreams import DockerRegistry

PATH = f"/v2/proxy/{APP}/up/{WORKER}"
IMAGE = catalog()[WORKER, "1.0.0"]


def documents(upstream: DockerRegistry, **limits: Any) -> tuple[dict[str, Any], ...]:
    return (
        secret("vendor", upstream.username, upstream.password),
        registry("up", upstream.host, secret="vendor"),
        license_("acme", limits=limits),
    )


async def pulls(gate: Gate, count: int) -> list[int]:
    key = gate.key("acme")
    return [(await gate.get(f"{PATH}/manifests/1.0.0", key)).status for _ in range(count)]


async def not_at_the_turn_of_an_hour() -> None:
    left = HOUR - time.time() % HOUR
    if left < 5:
        await asyncio.sleep(left + 0.1)


async def test_pulls_an_hour_are_counted_exactly_and_the_next_hour_is_named(
    docker_registry_basic: DockerRegistry, tmp_path: Path
) -> None:
    await not_at_the_turn_of_an_hour()
    async with running(tmp_path / "folder", *documents(docker_registry_basic, pullsPerHour=3)) as gate:
        assert await pulls(gate, 4) == [200, 200, 200, 429]
        answer = await gate.get(f"{PATH}/manifests/1.0.0", gate.key("acme"))
        assert answer.fault == "LimitReached"
        assert "license acme used its 3 pulls this hour" in answer.message
        assert "license acme used its 3 pulls this hour" in answer.reason
        left = HOUR - time.time() % HOUR
        assert abs(int(answer.headers["Retry-After"]) - left) < 3
        head = await gate.ask("HEAD", f"{PATH}/manifests/1.0.0", gate.key("acme"))
        assert head.status == 200
        assert (await gate.get(f"{PATH}/blobs/{IMAGE.config}", gate.key("acme"))).status == 200


async def test_many_at_once_get_no_more_than_the_limit(docker_registry_basic: DockerRegistry, tmp_path: Path) -> None:
    await not_at_the_turn_of_an_hour()
    async with running(tmp_path / "folder", *documents(docker_registry_basic, pullsPerHour=5)) as gate:
        key = gate.key("acme")
        asked = [gate.get(f"{PATH}/manifests/1.0.0", key) for _ in range(20)]
        statuses = [answer.status for answer in await asyncio.gather(*asked)]
        assert statuses.count(200) == 5
        assert statuses.count(429) == 15


async def test_a_raised_limit_holds_for_the_next_request(docker_registry_basic: DockerRegistry, tmp_path: Path) -> None:
    await not_at_the_turn_of_an_hour()
    async with running(tmp_path / "folder", *documents(docker_registry_basic, pullsPerHour=1)) as gate:
        assert await pulls(gate, 2) == [200, 429]
        await gate.apply(license_("acme", limits={"pullsPerHour": 2}))
        await gate.until_status(f"{PATH}/manifests/1.0.0", gate.key("acme"), 200)
        assert await pulls(gate, 1) == [429]


async def test_a_real_client_shows_the_limit(docker_registry_basic: DockerRegistry, tmp_path: Path) -> None:
    await not_at_the_turn_of_an_hour()
    async with running(tmp_path / "folder", *documents(docker_registry_basic, pullsPerHour=1)) as gate:
        assert await pulls(gate, 1) == [200]
        reference = f"{gate.host}/proxy/{APP}/up/{WORKER}:1.0.0"
        pulled = await Crane().pull(reference, "acme", gate.key("acme"), tmp_path / "pulled")
        assert pulled.exit_code != 0
        assert "license acme used its 1 pull this hour" in pulled.output


async def test_replicas_add_up_what_each_of_them_let_through(
    docker_registry_basic: DockerRegistry, tmp_path: Path
) -> None:
    await not_at_the_turn_of_an_hour()
    ports = (free_port(), free_port())
    peers = tuple(("127.0.0.1", port) for port in ports)
    settings = {"peers": peers, "admin_port": ports[0]}
    async with running(tmp_path / "folder", *documents(docker_registry_basic, pullsPerHour=4), **settings) as gate:
        assert await pulls(gate, 2) == [200, 200]
        gate._settings["admin_port"] = ports[1]
        replica = await gate.start_proxy()
        await gate.until(lambda: replica.snapshot.synced and any(replica.replica.peers.of((APP, "acme"))))
        key = gate.key("acme")
        found = [(await gate.get(f"{PATH}/manifests/1.0.0", key, proxy=replica)).status for _ in range(3)]
        assert found == [200, 200, 429]


def test_blobs_at_once_are_counted_until_they_end() -> None:
    book = UsageBook()
    keeper = Gatekeeper(book, PeerUsage(book.instance))
    facts, limits = LicenseFacts("my-app", "acme", ()), Limits(concurrent_blobs=2)
    first, second = (keeper.enter(facts, limits, Kind.BLOBS, 0.0) for _ in range(2))
    with pytest.raises(LimitReached, match="used its 2 blobs at once"):
        keeper.enter(facts, limits, Kind.BLOBS, 0.0)
    keeper.leave(first)
    keeper.leave(keeper.enter(facts, limits, Kind.BLOBS, 0.0))
    keeper.leave(second)
    assert not keeper._running


def test_a_day_begins_at_midnight_and_an_hour_at_the_full_hour() -> None:
    tally = Tally()
    midnight = 1_800_000_000 // 86400 * 86400
    tally.count(midnight - 1, Counts(1, 10))
    tally.count(midnight, Counts(1, 100))
    tally.count(midnight + HOUR, Counts(1, 1000))
    hour = midnight // HOUR
    assert tally.between(hour, hour + 1) == Counts(2, 1100)
    assert tally.between(hour + 1, hour + 1) == Counts(1, 1000)
    assert tally.between(hour - 1, hour - 1) == Counts(1, 10)
