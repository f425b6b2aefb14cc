"""The settings of containerd and the kubelet of a test's node, which let them run in a container too. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.cluster.network import CNI_PLUGINS
from tests.support.tools import tool

SANDBOX_IMAGE = "pause.test/pause:1"

NO_CNI = {"cniVersion": "0.4.0", "name": "none", "plugins": [{"type": "loopback"}]}
"""Never run, as pods use the host's network; a node without any such file is not Ready."""

_UNUSED = (
    *(f"io.containerd.snapshotter.v1.{name}" for name in ("devmapper", "zfs", "btrfs", "aufs", "erofs", "blockfile")),
    "io.containerd.nri.v1.nri",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.tracing",
)

# Without restrict_oom_score_adj runc may not lower its score where this runs in a container itself; without
# runtime_path the shim of Debian's containerd is taken.
_CONTAINERD = """\
version = 3
root = "{directory}/root"
state = "{directory}/state"
disabled_plugins = [{unused}]
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[debug]
  level = "info"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{snapshotter}"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{sandbox}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{directory}/hosts"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux/amd64"
  snapshotter = "{snapshotter}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{plugins}"]
    conf_dir = "{directory}/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      runtime_path = "{shim}"
      snapshotter = "{snapshotter}"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = "{runc}"
"""


def containerd_config(directory: Path, socket: Path, snapshotter: str) -> str:
    """containerd's config.toml: everything below `directory`."""
    return _CONTAINERD.format(
        directory=directory,
        plugins=CNI_PLUGINS,
        socket=socket,
        snapshotter=snapshotter,
        sandbox=SANDBOX_IMAGE,
        shim=tool("containerd-shim-runc-v2"),
        runc=tool("runc"),
        unused=", ".join(f'"{name}"' for name in _UNUSED),
    )


def kubelet_config(directory: Path, socket: Path, ports: tuple[int, int], dns: str = "") -> dict[str, Any]:
    """A KubeletConfiguration. `ports`: of its API, which lets nobody in, and of its health check.

    `dns` is the resolver of pods with a network of their own; without it the machine's is.
    """
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{socket}",
        "address": "127.0.0.1",
        "port": ports[0],
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": ports[1],
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "podLogsDir": str(directory / "logs"),
        "volumePluginDir": str(directory / "volume-plugins"),
        # It runs beside everything else, in whatever cgroup it is started, and changes no firewall.
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        # A pull Secret is asked for, not awaited: a pod that is new as its Secret pulls with it at once.
        "configMapAndSecretChangeDetectionStrategy": "Get",
        "failSwapOn": False,
        **({"clusterDNS": [dns], "clusterDomain": "cluster.local"} if dns else {}),
        # The scheduler of a whole cluster has to know of a node's disk, which not every container can measure.
        "localStorageCapacityIsolation": bool(dns),
        "makeIPTablesUtilChains": False,
        "evictionHard": {},
        "imageGCHighThresholdPercent": 100,
        # Each pod's error is to be that of its own pull, and none is left out of the events.
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
    }
