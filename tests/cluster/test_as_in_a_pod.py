"""The operator as a pod's container runs it: a user without a name, a ServiceAccount's files, CRDs that come and go."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support import gate
from tests.support.cluster.control_plane import ControlPlane
from tests.support.cluster.fixtures import CRDS
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.process import Program
from tests.support.cluster.pullgate import SYSTEM, fetch
from tests.support.cluster.wait import until
from tests.support.kustomize import DEPLOY
from tests.support.ports import free_port
from tests.support.unprivileged import unprivileged

pytestmark = pytest.mark.own_control_plane

ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"
MOUNT = f'mount -t tmpfs none /run && mkdir -p {ACCOUNT} && mount --bind "$0" {ACCOUNT} && exec "$@"'


@dataclass
class Pod:
    """An operator that learns of changes only from its watch: its audits are an hour apart."""

    cluster: Kubectl
    admin: int

    def answer(self, path: str) -> str:
        return fetch(f"http://127.0.0.1:{self.admin}{path}")[1]

    @property
    def watch(self) -> dict[str, Any]:
        return dict(json.loads(self.answer("/status"))["watch"] or {})

    @property
    def unseen(self) -> float:
        """Changes that a list found, and no watch."""
        lines = self.answer("/metrics").splitlines()
        return float(
            next(line for line in lines if line.startswith("pullgate_operator_unseen_changes_total")).split()[1]
        )

    def wait(self, app: str, what: str, condition: str) -> None:
        self.cluster.kubectl("wait", what, "-n", app, f"--for=condition={condition}", "--timeout=45s")


@pytest.fixture(scope="module")
def pod(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    assert isinstance(cluster, ControlPlane)
    cluster.kubectl("apply", "-k", DEPLOY)
    cluster.kubectl("delete", "deployment", "-n", SYSTEM, "pullgate-operator", "pullgate-proxy")
    directory = tmp_path_factory.mktemp("pod")
    token = cluster.kubectl("create", "token", "pullgate-operator", "-n", SYSTEM, "--duration=1h").strip()
    files = directory / "account"
    files.mkdir()
    for name, text in {"token": token, "ca.crt": cluster.ca, "namespace": SYSTEM}.items():
        (files / name).write_text(text)
    (directory / "empty").mkdir()
    address, admin = urlsplit(cluster.url), free_port()
    variables = {"KUBERNETES_SERVICE_HOST": address.hostname, "KUBERNETES_SERVICE_PORT": address.port, "HOME": "/"}
    command = ["unshare", "--mount", "sh", "-ec", MOUNT, files, *unprivileged(directory / "empty")]
    command += ["env", "-i", *(f"{name}={value}" for name, value in variables.items())]
    command += [sys.executable, "-m", "pullgate_cli", "operator", "--external-url", "https://images.test"]
    command += ["--admin", f"127.0.0.1:{admin}", "--audit-seconds", "3600"]
    operator = Program([str(word) for word in command], directory / "operator.log")
    operator.start()
    found = Pod(cluster, admin)
    try:
        until(lambda: found.watch.get("alive"))
        yield found
    finally:
        operator.stop()
        print((directory / "operator.log").read_text()[-3000:])


def test_a_change_comes_by_the_watch(pod: Pod, app: str) -> None:
    pod.cluster.apply(gate.license_("acme", namespace=app))
    pod.wait(app, "license/acme", "Valid=True")
    pod.cluster.apply(gate.license_("acme", namespace=app, suspended={"reason": "invoice 77 unpaid"}))
    pod.wait(app, "license/acme", "Valid=False")
    assert pod.unseen == 0
    assert pod.watch["problem"] == ""
    assert pod.watch["ageSeconds"] < 60


def test_crds_that_are_deleted_and_applied_again_are_watched_again(pod: Pod, app: str) -> None:
    pod.cluster.kubectl("delete", "crd", "imagetests.pullgate.dev")
    until(lambda: "ImageTest" in pod.watch.get("problem", ""))
    assert not pod.watch["alive"]
    pod.cluster.apply(gate.license_("other", namespace=app))
    pod.wait(app, "license/other", "Valid=True")
    pod.cluster.kubectl("apply", "-k", CRDS)
    until(lambda: pod.watch.get("alive"))
    test = {"apiVersion": "pullgate.dev/v1alpha1", "kind": "ImageTest", "metadata": {"name": "gate", "namespace": app}}
    until(lambda: apply(pod, {**test, "spec": {"images": ["quay.example/my-org/api:1"]}}))
    until(lambda: pod.cluster.get("imagetest", "gate", app).get("status"))


def apply(pod: Pod, document: dict[str, Any]) -> bool:
    pod.cluster.apply(document)
    return True
