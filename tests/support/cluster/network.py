"""A network of a node's own: the machine's firewall and routes stay as they are, and all of it goes with it."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PODS = "10.244.0.0/24"
CNI_PLUGINS = Path("/usr/lib/cni")


@dataclass(frozen=True, slots=True)
class NodeNetwork:
    """A network namespace, and a wire between it and this machine. The addresses are of RFC 2544: nobody else's."""

    name: str
    host: str
    """This machine's address on the wire: what pods reach of it."""
    node: str
    """The node's."""
    balancer: str
    """An address that this machine sends to the node: for a Service of type LoadBalancer."""

    def inside(self, *command: str | Path) -> list[str | Path]:
        """`command`, run in the namespace; it shares everything else with this machine."""
        return ["nsenter", f"--net=/run/netns/{self.name}", *command]

    @property
    def addresses(self) -> Path:
        """The folder in which the network plugins record the addresses given to pods."""
        return Path("/run") / self.name

    @property
    def cni(self) -> dict[str, object]:
        """The configuration of the network plugins: a bridge, and addresses of PODS."""
        ipam = {
            "type": "host-local",
            "ranges": [[{"subnet": PODS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(self.addresses),
        }
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": ipam,
        }
        return {"cniVersion": "0.4.0", "name": self.name, "plugins": [bridge]}


@contextlib.contextmanager
def node_network() -> Iterator[NodeNetwork]:
    """One that is there while the context is open. Needs root."""
    number = secrets.randbelow(256)
    while Path(f"/run/netns/pullgate-{number}").exists():
        number = secrets.randbelow(256)
    name, wire, prefix = f"pullgate-{number}", f"pullgate{number}", f"198.18.{number}"
    network = NodeNetwork(name, f"{prefix}.1", f"{prefix}.2", f"{prefix}.3")
    _ip("netns", "add", name)
    try:
        _ip("link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("address", "add", f"{network.host}/24", "dev", wire)
        _ip("link", "set", wire, "up")
        _ip("route", "add", network.balancer, "via", network.node)
        for device in ("lo", "eth0"):
            _ip("-n", name, "link", "set", device, "up")
        _ip("-n", name, "address", "add", f"{network.node}/24", "dev", "eth0")
        _ip("-n", name, "route", "add", "default", "via", network.host)  # Services' addresses need any route
        for setting in ("net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1"):
            _run(*network.inside("sysctl", "--quiet", "--write", setting))
        yield network
    finally:
        _ip("netns", "delete", name)
        shutil.rmtree(network.addresses, ignore_errors=True)
        subprocess.run(["ip", "link", "delete", wire], capture_output=True, check=False)


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr}")
