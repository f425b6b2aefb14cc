"""A cluster as kubectl reaches it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.tools import tool

SECONDS = 100


class KubectlFailed(Exception):
    """kubectl refused; the message is what it printed."""


class Kubectl:
    """kubectl as the user of `kubeconfig`."""

    kubeconfig: Path

    def kubectl(self, *args: str | Path, input: str = "") -> str:  # noqa: A002 - as subprocess.run names it
        """kubectl's standard output. Raises KubectlFailed."""
        command = [str(tool("kubectl")), "--kubeconfig", str(self.kubeconfig), *map(str, args)]
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=SECONDS, check=False)
        if done.returncode != 0:
            raise KubectlFailed(f"kubectl {' '.join(map(str, args[:3]))}: {done.stdout}{done.stderr}")
        return done.stdout

    def apply(self, *documents: dict[str, Any]) -> None:
        """`kubectl apply` of documents. Raises KubectlFailed."""
        self.kubectl("apply", "-f", "-", input="\n---\n".join(json.dumps(document) for document in documents))

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any]:
        """A document. Raises KubectlFailed."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def kubeconfig_of(self, namespace: str, service_account: str, directory: Path) -> Path:
        """A kubeconfig of a ServiceAccount, with a token of an hour. Raises KubectlFailed."""
        token = self.kubectl("create", "token", service_account, "-n", namespace, "--duration=1h").strip()
        found = json.loads(self.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
        found["users"] = [{"name": found["contexts"][0]["context"]["user"], "user": {"token": token}}]
        path = directory / f"{service_account}.kubeconfig"
        path.write_text(json.dumps(found))
        return path


class ExistingCluster(Kubectl):
    """The cluster of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
