"""`kubectl apply` of a Registry and a License, and a pod runs from the private image; where it may not, it says why."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.node import Node
from tests.support.cluster.pullgate import World, apply_vendor, license_, pull_auths, wait_for, world_on
from tests.support.cluster.wait import until
from tests.support.images import runnable
from tests.support.tools import tool

pytestmark = pytest.mark.own_control_plane

REPOSITORY = "my-org/pause"


@pytest.fixture(scope="module")
def world(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_on(cluster, tmp_path_factory.mktemp("pullgate"), replicas=1) as running:
        program = tool("pause").read_bytes()
        asyncio.run(running.upstream.push(REPOSITORY, "1", runnable("pulled", program)))
        yield running


@pytest.fixture
def vendor(world: World, app: str) -> str:
    """A namespace with a Registry, its Secret and the License acme, all Ready."""
    apply_vendor(world, app)
    return app


def through_the_proxy(world: World, app: str) -> str:
    return f"{world.host}/proxy/{app}/upstream/{REPOSITORY}:1"


def start_pod(world: World, node: Node, app: str, image: str) -> None:
    world.cluster.kubectl("wait", "serviceaccount/default", "-n", app, "--for=create", "--timeout=45s")
    world.cluster.apply(node.pod("main", app, image, pull_secret="acme-pull"))


def wait_until_it_runs(world: World, app: str) -> None:
    world.cluster.kubectl("wait", "pod/main", "-n", app, "--for=condition=Ready", "--timeout=60s")


def test_a_pod_runs_from_the_private_image_with_the_pull_secret_alone(
    world: World, worker_node: Node, vendor: str
) -> None:
    start_pod(world, worker_node, vendor, through_the_proxy(world, vendor))
    wait_until_it_runs(world, vendor)


def test_a_pod_runs_by_the_original_name_with_the_proxy_as_its_mirror(
    world: World, worker_node: Node, vendor: str
) -> None:
    upstream = world.upstream.host
    world.cluster.apply(license_(vendor, pullSecret={"hosts": [upstream]}))
    until(lambda: upstream in pull_auths(world, vendor))
    worker_node.mirror(upstream, f"http://{world.host}")
    start_pod(world, worker_node, vendor, f"{upstream}/{REPOSITORY}:1")
    wait_until_it_runs(world, vendor)


def test_a_pod_says_that_the_license_is_suspended_and_starts_by_itself_when_it_is_restored(
    world: World, worker_node: Node, vendor: str
) -> None:
    world.cluster.apply(license_(vendor, suspended={"reason": "invoice 77 unpaid"}))
    wait_for(world, vendor, "license/acme", "Valid", "False")
    start_pod(world, worker_node, vendor, through_the_proxy(world, vendor))
    event = until(lambda: worker_node.pull_event("main", vendor))
    assert not event.pulled
    assert "license acme is suspended: invoice 77 unpaid" in event.message
    world.cluster.apply(license_(vendor))
    wait_until_it_runs(world, vendor)
