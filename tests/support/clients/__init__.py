"""The real clients, each behind one small interface: pull a reference, and tell what a person saw and what arrived."""

from collections.abc import Callable

from tests.support.clients.command import Pull
from tests.support.clients.containerd import Containerd
from tests.support.clients.daemonless import Crane, Curl, Helm, Oras, Podman, Skopeo
from tests.support.clients.docker import Docker
from tests.support.clients.kubelet import Kubelet

Client = Docker | Skopeo | Podman | Containerd | Crane | Oras | Helm | Curl | Kubelet

CLIENTS: dict[str, Callable[[], Client]] = {
    "docker": Docker,
    "skopeo": Skopeo,
    "podman": Podman,
    "containerd 1.6": lambda: Containerd("1.6"),
    "containerd 2.4": lambda: Containerd("2.4"),
    "kubelet": Kubelet,
    "crane": Crane,
    "oras": Oras,
    "helm": Helm,
    "curl": Curl,
}
"""Name -> factory; each is an async context manager, and a daemon where the client needs one runs inside of it."""

__all__ = ["CLIENTS", "Client", "Pull"]
