"""`doctor` on a cluster reads the watch of real operators and proxies, and its age."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cli import Ran, pullgate
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.pullgate import World, apply_vendor, fetch, world_on


@pytest.fixture(scope="module")
def world(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_on(cluster, tmp_path_factory.mktemp("doctor"), replicas=2) as running:
        yield running


async def doctor(world: World, app: str) -> tuple[Ran, dict[str, Any]]:
    ports = [("--operator-admin", port) for port in world.operator_admin]
    ports += [("--proxy-admin", port) for port in world.proxy_admin]
    options = [word for option, port in ports for word in (option, f"127.0.0.1:{port}")]
    ran = await pullgate("doctor", *options, "--kubeconfig", world.cluster.kubeconfig, "-n", app, "-o", "json")
    return ran, {f["about"]: f for f in ran.data["findings"]}


async def test_each_watch_is_alive_and_one_operator_leads(world: World, app: str) -> None:
    apply_vendor(world, app)
    _, found = await doctor(world, app)
    operators = [found[f"operator 127.0.0.1:{port}"]["text"] for port in world.operator_admin]
    assert sorted(text.partition(";")[0] for text in operators) == ["leads", "stands by"]
    assert any("watch: alive, last event" in text for text in operators)
    for port in world.proxy_admin:
        assert "watch: alive, last event" in found[f"proxy 127.0.0.1:{port}"]["text"]
    assert found["Registry"]["text"].startswith("1 of 1 are well; checked ")


async def test_processes_beside_the_cluster_are_no_pods(world: World, app: str) -> None:
    apply_vendor(world, app)
    ran = await pullgate("doctor", "--kubeconfig", world.cluster.kubeconfig, "-n", app)
    assert ran.code == 1
    assert "pods of pullgate-proxy none is running" in ran.output


def test_the_admin_port_of_an_operator_has_a_status(world: World) -> None:
    assert '"leads"' in fetch(f"http://127.0.0.1:{world.operator_admin[0]}/status")[1]
