"""etcd, kube-apiserver and kube-controller-manager on loopback."""

from __future__ import annotations

import base64
import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pullgate.tls_context import build_client_context
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.process import Program
from tests.support.ports import free_port
from tests.support.tls import Authority
from tests.support.tools import tool

READY_SECONDS = 90.0
ADMIN_TOKEN = "admin-of-the-tests"
SERVER_NAMES = ("kubernetes.default.svc", "kubernetes.default", "kubernetes", "localhost", "127.0.0.1", "10.96.0.1")
NODE_NAME = "node-of-the-tests"
NODE_TOKEN = "kubelet-of-the-tests"


@dataclass(frozen=True, slots=True)
class Served:
    """The API server's address and port, and its further flags."""

    address: str = "127.0.0.1"
    port: int = field(default_factory=free_port)
    flags: tuple[str, ...] = ()


class ControlPlane(Kubectl):
    """A cluster without nodes; one may join as NODE_NAME with NODE_TOKEN.

    Its certificates have no key identifiers, as those of EKS (kubernetes-client/python#2394): Python's strict check
    would refuse them.
    The API server can be stopped and comes back with its data on the same port.
    """

    def __init__(self, directory: Path, served: Served | None = None) -> None:
        self._directory = directory
        served = served or Served()
        self.url = f"https://{served.address}:{served.port}"
        self.kubeconfig = directory / "admin.kubeconfig"
        authority = Authority("Test cluster", identifiers=False)
        self.ca = authority.pem
        """PEM."""
        ca = directory / "ca.crt"
        ca.write_text(self.ca)
        certificate, key = authority.write_pair(directory, [*SERVER_NAMES, served.address])
        etcd, peer = free_port(), free_port()
        self._etcd = self._program(
            "etcd",
            f"--data-dir={directory / 'etcd'}",
            f"--listen-client-urls=http://127.0.0.1:{etcd}",
            f"--advertise-client-urls=http://127.0.0.1:{etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
        )
        self._api_server = self._program(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{etcd}",
            f"--secure-port={served.port}",
            f"--bind-address={served.address}",
            f"--cert-dir={directory / 'pki'}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={directory / 'sa.pub'}",
            f"--service-account-signing-key-file={directory / 'sa.key'}",
            f"--token-auth-file={directory / 'tokens.csv'}",
            "--authorization-mode=Node,RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--allow-privileged=true",
            *served.flags,
        )
        self._controllers = self._program(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            f"--service-account-private-key-file={directory / 'sa.key'}",
            "--use-service-account-credentials",
            f"--secure-port={free_port()}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            f"--root-ca-file={ca}",
        )

    def start(self) -> None:
        """Start all, and wait until the API server is ready. Raises ProgramFailed."""
        _write_keys(self._directory)
        (self._directory / "tokens.csv").write_text(
            f'{ADMIN_TOKEN},admin,admin,"system:masters"\n'
            f'{NODE_TOKEN},system:node:{NODE_NAME},{NODE_NAME},"system:nodes"\n'
        )
        self._etcd.start()
        self.start_api_server()
        self.kubeconfig.write_text(self.kubeconfig_for(ADMIN_TOKEN))
        self._controllers.start()

    def start_api_server(self) -> None:
        """Start it, with the data and the port that it had. Raises ProgramFailed."""
        self._api_server.start()
        end = time.monotonic() + READY_SECONDS
        while not self._is_ready():
            if time.monotonic() > end or not self._api_server.running:
                raise self._api_server.failed("did not become ready")
            time.sleep(0.1)

    def stop_api_server(self) -> None:
        """Stop it; etcd keeps the data."""
        self._api_server.stop()

    def stop(self) -> None:
        """End all."""
        for program in (self._controllers, self._api_server, self._etcd):
            program.stop()

    def kubeconfig_for(self, token: str) -> str:
        """A kubeconfig with `token`."""
        authority = base64.b64encode(self.ca.encode()).decode()
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [
                    {"name": "c", "cluster": {"server": self.url, "certificate-authority-data": authority}},
                ],
                "users": [{"name": "u", "user": {"token": token}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )

    def _program(self, name: str, *arguments: str) -> Program:
        return Program([tool(name), *arguments], self._directory / f"{name}.log")

    def _is_ready(self) -> bool:
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
        try:
            context = build_client_context(self.ca)
            with urllib.request.urlopen(request, timeout=5, context=context) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@contextlib.contextmanager
def control_plane(directory: Path, served: Served | None = None) -> Iterator[ControlPlane]:
    """One that runs while the context is open."""
    plane = ControlPlane(directory, served)
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()


def _write_keys(directory: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    (directory / "sa.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (directory / "sa.pub").write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
