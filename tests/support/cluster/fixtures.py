"""One control plane for tests/cluster and tests/e2e, which share a worker, or PULLGATE_TEST_KUBECONFIG's."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster.control_plane import control_plane
from tests.support.cluster.kubectl import ExistingCluster, Kubectl
from tests.support.cluster.look import look_at_resources

OTHER_CLUSTER = os.environ.get("PULLGATE_TEST_KUBECONFIG")
TESTS = Path(__file__).parents[2]
FOLDERS = (TESTS / "cluster", TESTS / "e2e")
CRDS = TESTS.parent / "deploy" / "crds"


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """These tests share a worker; some run on a control plane of their own only."""
    elsewhere = [item for item in items if OTHER_CLUSTER and item.get_closest_marker("own_control_plane")]
    for item in items:
        if any(folder in item.path.parents for folder in FOLDERS):
            item.add_marker(pytest.mark.xdist_group("cluster"))
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """A cluster with the CRDs."""
    if OTHER_CLUSTER:
        existing = ExistingCluster(Path(OTHER_CLUSTER))
        _install_crds(existing)
        yield existing
        return
    with control_plane(tmp_path_factory.mktemp("cluster")) as plane:
        _install_crds(plane)
        yield plane


@pytest.fixture
def app(cluster: Kubectl) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"app-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("annotate", "namespace", name, "pullgate.dev/private-networks=127.0.0.0/8")
    yield name
    look_at_resources(cluster, "-n", name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def _install_crds(cluster: Kubectl) -> None:
    cluster.kubectl("apply", "-k", CRDS)
    cluster.kubectl("wait", "--for=condition=Established", "crd", "-l", "app.kubernetes.io/part-of=pullgate")
