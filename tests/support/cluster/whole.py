"""A whole cluster of one node: scheduler, Services and their names beside what tests/cluster starts.

Pods have a network of their own. The API server is on port 6443, as on most clusters.
NetworkPolicies are not enforced: no program that does it builds from Go alone and works on every kernel.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster.control_plane import ControlPlane, Served, control_plane
from tests.support.cluster.network import PODS, NodeNetwork, node_network
from tests.support.cluster.node import Node, node
from tests.support.cluster.process import Program
from tests.support.ports import free_port
from tests.support.tools import tool

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "resources": [{"group": "pullgate.dev"}]},
        {"level": "None"},
    ],
}
NAMES = """\
.:53 {{
    bind {address}
    errors
    kubernetes cluster.local {{
        kubeconfig {kubeconfig}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a resource of Pullgate, as the API server's audit log records it."""

    verb: str
    resource: str
    user: str
    status: int
    at: str
    """When it came: RFC 3339 with microseconds, in UTC."""


@dataclass(frozen=True, slots=True)
class WholeCluster:
    """All of it."""

    plane: ControlPlane
    network: NodeNetwork
    node: Node
    audit_log: Path

    def requests(self) -> list[Request]:
        """The requests for resources of Pullgate so far that were answered, or began to be (a watch)."""
        found = []
        for line in self.audit_log.read_text().splitlines():
            event = json.loads(line)
            status = event.get("responseStatus", {}).get("code", 0)
            resource, user = event["objectRef"]["resource"], event.get("user", {}).get("username", "")
            found.append(Request(event["verb"], resource, user, status, event["requestReceivedTimestamp"]))
        return found


@contextlib.contextmanager
def whole_cluster() -> Iterator[WholeCluster]:
    """One that runs while the context is open. Needs root."""
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(node_network())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pullgate-whole-")))
        audit_log = directory / "audit.log"
        plane = stack.enter_context(control_plane(directory, _served(directory, network.host, audit_log)))
        worker = stack.enter_context(node(plane, network))
        for program in _programs(directory, plane, network):
            stack.callback(program.stop)
            program.start()
        yield WholeCluster(plane, network, worker, audit_log)


def _served(directory: Path, address: str, audit_log: Path) -> Served:
    policy = directory / "audit.json"
    policy.write_text(json.dumps(AUDIT_POLICY))
    return Served(address, 6443, (f"--audit-policy-file={policy}", f"--audit-log-path={audit_log}"))


def _programs(directory: Path, plane: ControlPlane, network: NodeNetwork) -> list[Program]:
    """Each may do all; on the node, but for the scheduler."""
    proxy, names = directory / "kube-proxy.json", directory / "Corefile"
    proxy.write_text(json.dumps(_kube_proxy(plane)))
    names.write_text(NAMES.format(address=network.node, kubeconfig=f"{plane.kubeconfig} x"))
    scheduler = ("--leader-elect=false", "--bind-address=127.0.0.1", f"--secure-port={free_port()}")
    commands: list[list[str | Path]] = [
        [tool("kube-scheduler"), f"--kubeconfig={plane.kubeconfig}", *scheduler],
        network.inside(tool("kube-proxy"), f"--config={proxy}"),
        network.inside(tool("coredns"), "-conf", names),
    ]
    return [Program(command, directory / f"program-{n}.log") for n, command in enumerate(commands)]


def _kube_proxy(plane: ControlPlane) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(plane.kubeconfig)},
        "mode": "iptables",
        "clusterCIDR": PODS,
        "hostnameOverride": Node.name,
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
