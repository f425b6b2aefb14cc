"""A real node of the test's own control plane."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cluster.control_plane import ControlPlane
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.node import Node, node


@pytest.fixture(scope="session")
def worker_node(cluster: Kubectl) -> Iterator[Node]:
    """Ready."""
    assert isinstance(cluster, ControlPlane)
    with node(cluster) as found:
        yield found
