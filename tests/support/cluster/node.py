"""A node of a test's control plane: containerd and a kubelet, which run pods on this machine for real.

Without a network of its own pods need `hostNetwork: true` and `nodeName`; what they run is on loopback.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.cluster.control_plane import NODE_NAME, NODE_TOKEN, ControlPlane
from tests.support.cluster.network import NodeNetwork
from tests.support.cluster.node_config import NO_CNI, SANDBOX_IMAGE, containerd_config, kubelet_config
from tests.support.cluster.process import Program
from tests.support.images import oci_layout, runnable
from tests.support.ports import free_port
from tests.support.tools import tool

READY_SECONDS = 60.0
SYSCTLS = {
    "kernel/keys/root_maxbytes": "25000000",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
}
"""Kernel settings that a kubelet makes on its machine; with protectKernelDefaults it would refuse to start instead."""
LOG_LINKS = Path("/var/log/containers")
"""The folder in which a kubelet links each container's log, whatever its podLogsDir."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PullEvent:
    """The event of a pull, as `kubectl describe pod` shows it."""

    pulled: bool
    message: str


class Node:
    """`with node(plane) as found`: Ready, without pods and without images but the sandbox's.

    `directory` has a short path: sockets are in it. Needs root, as a kubelet does.
    """

    name = NODE_NAME

    def __init__(self, plane: ControlPlane, directory: Path, network: NodeNetwork | None = None) -> None:
        self.plane, self._directory, self._network = plane, directory, network
        self._socket = directory / "containerd.sock"
        self._snapshotter = _snapshotter(directory)
        self._before: dict[str, str] = {}
        self._own_images: list[str] = []
        config = directory / "containerd.toml"
        self._containerd = self._program("containerd-2", "--config", config)
        self._kubelet = self._program(
            "kubelet",
            f"--config={directory / 'kubelet.json'}",
            f"--kubeconfig={directory / 'kubelet.kubeconfig'}",
            f"--root-dir={directory / 'kubelet'}",
            f"--cert-dir={directory / 'pki'}",
            f"--hostname-override={self.name}",
            *([f"--node-ip={network.node}"] if network else []),
        )

    def start(self) -> None:
        """Start all, and wait until the node is Ready. Raises ProgramFailed."""
        self._write_files()
        self._before = {name: _sysctl(name).read_text().strip() for name in SYSCTLS}
        self._containerd.start()
        self._until(lambda: self._ctr("version").returncode == 0, self._containerd)
        layout = self._directory / "pause.tar"
        layout.write_bytes(oci_layout(runnable("pause", tool("pause").read_bytes()), SANDBOX_IMAGE))
        imported = self._ctr("images", "import", "--snapshotter", self._snapshotter, "--local", layout)
        if imported.returncode != 0:
            raise self._containerd.failed(f"did not take the sandbox's image: {imported.stderr}")
        self._own_images = self._images()
        self._kubelet.start()
        self._until(self._is_ready, self._kubelet)

    def stop(self) -> None:
        """End all, and take away whatever the pods left: processes, mounts, and what the kubelet set."""
        self._kubelet.stop()
        if self._containerd.running:
            for container in self._ctr("tasks", "ls", "--quiet").stdout.split():
                self._ctr("tasks", "rm", "--force", container)
        self._containerd.stop()
        _end_processes_of(self._directory)
        _unmount_below(self._directory)
        for link in LOG_LINKS.glob("*"):
            if link.is_symlink() and link.readlink().is_relative_to(self._directory):
                link.unlink()
        for name, value in self._before.items():
            if _sysctl(name).read_text().strip() == SYSCTLS[name]:  # another test's node may have put it back already
                _sysctl(name).write_text(value)

    def pod(self, name: str, namespace: str, image: str, *, pull_secret: str = "") -> Document:
        """A pod of one container on this node, which pulls `image` each time."""
        spec: Document = {
            "nodeName": self.name,
            "hostNetwork": True,
            "tolerations": [{"operator": "Exists"}],
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": image, "imagePullPolicy": "Always"}],
        }
        if pull_secret:
            spec["imagePullSecrets"] = [{"name": pull_secret}]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }

    def pull_event(self, name: str, namespace: str) -> PullEvent | None:
        """How the pod's first pull ended; None while it goes on.

        A node may read a Secret once the API server's node authorizer has seen the pod that names it. A kubelet that is
        faster pulls without, says so, and pulls again: that first pull does not count.
        """
        selector = f"involvedObject.kind=Pod,involvedObject.name={name}"
        found = self.plane.kubectl("get", "events", "-n", namespace, "--field-selector", selector, "-o", "json")
        events = json.loads(found)["items"]
        too_fast = any(event["reason"] == "FailedToRetrieveImagePullSecret" for event in events)
        for event in events:
            pulled = event["reason"] == "Pulled"
            failed = event["message"].startswith("Failed to pull image")
            if pulled or (failed and not (too_fast and "no credentials were sent" in event["message"])):
                return PullEvent(pulled, event["message"])
        return None

    def mirror(self, host: str, mirror: str) -> None:
        """Ask the registry at the URL `mirror` for images of `host`."""
        folder = self._directory / "hosts" / host
        folder.mkdir(parents=True, exist_ok=True)
        lines = f'server = "http://{host}"\n[host."{mirror}"]\n  capabilities = ["pull", "resolve"]\n'
        (folder / "hosts.toml").write_text(lines)

    def trust(self, host: str, authority: str) -> None:
        """Take certificates of the CA `authority`, in PEM, from the registry `host`."""
        folder = self._directory / "hosts" / host
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_text(authority)
        (folder / "hosts.toml").write_text(f'server = "https://{host}"\nca = "{folder / "ca.crt"}"\n')

    def take_image(self, archive: Path, name: str, new_name: str) -> None:
        """Take the image `name` of an OCI archive in as `new_name`. Raises ProgramFailed."""
        for arguments in (
            ("import", "--snapshotter", self._snapshotter, "--local", archive),
            ("tag", name, new_name),
        ):
            done = self._ctr("images", *arguments)
            if done.returncode != 0:
                raise self._containerd.failed(f"did not take {name}: {done.stderr}")
        self._own_images = self._images()

    def pid_of(self, container: str) -> int:
        """The pid of a container's first process, as this machine counts."""
        tasks = (line.split() for line in self._ctr("tasks", "ls").stdout.splitlines())
        return next(int(words[1]) for words in tasks if words[0] == container)

    @property
    def logs(self) -> Path:
        """The folder of the containers' output: NAMESPACE_POD_UID/CONTAINER/N.log."""
        return self._directory / "logs"

    def volume(self, pod_uid: str, name: str) -> Path:
        """An emptyDir of a pod."""
        return self._directory / "kubelet" / "pods" / pod_uid / "volumes" / "kubernetes.io~empty-dir" / name

    def blobs(self) -> list[Path]:
        """The files of containerd's content store, named by their digests."""
        store = self._directory / "root" / "io.containerd.content.v1.content" / "blobs" / "sha256"
        return list(store.iterdir()) if store.is_dir() else []

    def remove_images(self) -> None:
        """Forget all that was pulled, as far as no container that has ended still holds it."""
        pulled = [name for name in self._images() if name not in self._own_images]
        if pulled:
            self._ctr("images", "rm", "--sync", *pulled)

    def _images(self) -> list[str]:
        return self._ctr("images", "ls", "--quiet").stdout.split()

    def _program(self, name: str, *arguments: str | Path) -> Program:
        command = [tool(name), *arguments]
        return Program(self._network.inside(*command) if self._network else command, self._directory / f"{name}.log")

    def _write_files(self) -> None:
        network, ports = self._network, (free_port(), free_port())
        cni = self._directory / "cni"
        cni.mkdir()
        (cni / "node.conflist").write_text(json.dumps(network.cni if network else NO_CNI))
        (self._directory / "containerd.toml").write_text(
            containerd_config(self._directory, self._socket, self._snapshotter)
        )
        kubelet = kubelet_config(self._directory, self._socket, ports, dns=network.node if network else "")
        (self._directory / "kubelet.json").write_text(json.dumps(kubelet))
        (self._directory / "kubelet.kubeconfig").write_text(self.plane.kubeconfig_for(NODE_TOKEN))

    def _ctr(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [tool("ctr-2"), "--address", self._socket, "--namespace", "k8s.io", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def _is_ready(self) -> bool:
        path = "{.items[*].status.conditions[?(@.type=='Ready')].status}"
        return self.plane.kubectl("get", "nodes", "-o", f"jsonpath={path}") == "True"

    def _until(self, holds: Callable[[], bool], program: Program) -> None:
        end = time.monotonic() + READY_SECONDS
        while not holds():
            if time.monotonic() > end or not program.running:
                raise program.failed("did not become ready")
            time.sleep(0.1)


@contextlib.contextmanager
def node(plane: ControlPlane, network: NodeNetwork | None = None) -> Iterator[Node]:
    """One that runs while the context is open."""
    with tempfile.TemporaryDirectory(prefix="pullgate-node-", ignore_cleanup_errors=True) as directory:
        found = Node(plane, Path(directory), network)
        try:
            found.start()
            yield found
        finally:
            found.stop()


def _snapshotter(directory: Path) -> str:
    """overlayfs, or native where the machine's own files are on an overlay: each container then copies its image."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        lower, upper, work, merged = (Path(name) / part for part in ("lower", "upper", "work", "merged"))
        for path in (lower, upper, work, merged):
            path.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(merged)]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            return "native"
        subprocess.run(["umount", merged], check=True)
        return "overlayfs"


def _sysctl(name: str) -> Path:
    return Path("/proc/sys") / name


def _end_processes_of(directory: Path) -> None:
    """Shims outlive containerd by design; theirs is what has our socket in its command line."""
    marker = str(directory).encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if marker in (process / "cmdline").read_bytes() and int(process.name) != os.getpid():
                os.kill(int(process.name), signal.SIGKILL)


def _unmount_below(directory: Path) -> None:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    for mounted in sorted((line.split()[4] for line in lines), reverse=True):
        if Path(mounted).is_relative_to(directory):
            subprocess.run(["umount", "--lazy", mounted], check=False)
