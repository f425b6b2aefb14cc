"""The paths of the tools that `make test` installs. A test that lacks one fails and says so."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

HERE = Path(__file__).parent
BUILT = {
    "crane": "crane",
    "oras": "oras",
    "helm": "helm",
    "conformance": "conformance",
    "etcd": "etcd",
    "kube-apiserver": "kubernetes/kube-apiserver",
    "kube-controller-manager": "kubernetes/kube-controller-manager",
    "kube-proxy": "kubernetes/kube-proxy",
    "kube-scheduler": "kubernetes/kube-scheduler",
    "kubectl": "kubernetes/kubectl",
    "kubelet": "kubernetes/kubelet",
    "coredns": "coredns",
    "pause": "pause",
    "containerd-2": "containerd/containerd",
    "ctr-2": "containerd/ctr",
    "containerd-shim-runc-v2": "containerd/containerd-shim-runc-v2",
}
"""Name -> module/binary, built from the folder of that name."""
KEYED = ("go.mod", "go.sum", "main.go")
"""The files of such a folder that decide what is built; install.sh reads the same."""
DEBIAN = {
    "docker": "/usr/bin/docker",
    "dockerd": "/usr/sbin/dockerd",
    "containerd": "/usr/bin/containerd",
    "ctr": "/usr/bin/ctr",
    "runc": "/usr/sbin/runc",
    "skopeo": "/usr/bin/skopeo",
    "podman": "/usr/bin/podman",
    "curl": "/usr/bin/curl",
    "docker-registry": "/usr/bin/docker-registry",
}


class ToolMissing(Exception):
    """A tool that is not installed; the message says how to get it."""


@functools.cache
def tool(name: str) -> Path:
    """The program `name`. Raises ToolMissing."""
    path = Path(DEBIAN[name]) if name in DEBIAN else _built(BUILT[name])
    if not path.exists():
        raise ToolMissing(f"{name} is not at {path.name}: run `make tools`")
    return path


def _built(place: str) -> Path:
    module, _, binary = place.rpartition("/")
    folder = HERE / (module or binary)
    content = b"".join((folder / name).read_bytes() for name in KEYED if (folder / name).exists())
    key = hashlib.sha256(content).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "pullgate" / "tools" / f"{folder.name}-{key}" / binary
