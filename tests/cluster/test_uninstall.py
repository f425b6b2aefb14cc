"""The commands of docs/install.md, word by word, on a control plane of their own: what stays, and what goes."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster.control_plane import ControlPlane, control_plane
from tests.support.cluster.pullgate import license_
from tests.support.kustomize import DEPLOY
from tests.support.tools import tool

pytestmark = pytest.mark.own_control_plane

PAGE = (DEPLOY.parent / "docs" / "install.md").read_text()
APP = "my-app"
LICENSES = 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the reader stands: deploy/ and the page's overlay beside it."""
    found = re.search(r"```yaml\n(# overlay/kustomization.yaml\n.*?)```", PAGE, re.DOTALL)
    assert found is not None
    (tmp_path / "overlay").mkdir()
    (tmp_path / "overlay" / "kustomization.yaml").write_text(found[1])
    (tmp_path / "deploy").symlink_to(DEPLOY)
    return tmp_path


@pytest.fixture
def plane(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[ControlPlane]:
    """Pullgate as the page installs it, and Licenses with Secrets that they own, as the operator writes them."""
    with control_plane(tmp_path_factory.mktemp("plane")) as found:
        for command in commands("## Install"):
            if "apply" in command:  # there is no node, so no rollout to wait for
                run(found, folder, command)
        found.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        found.kubectl("create", "namespace", APP)
        names = [f"acme-{n}" for n in range(LICENSES)]
        documents = [license_(APP) for _ in names]
        for document, name in zip(documents, names, strict=True):
            document["metadata"]["name"] = name
        found.apply(*documents)
        licenses = json.loads(found.kubectl("get", "licenses", "-n", APP, "-o", "json"))["items"]
        found.apply(*(secret_of(document) for document in licenses))
        yield found


def secret_of(owner: dict[str, dict[str, str]]) -> dict[str, object]:
    """As `pullgate_operator.plan.license` labels it."""
    name = owner["metadata"]["name"]
    reference = {"apiVersion": owner["apiVersion"], "kind": "License", "name": name, "uid": owner["metadata"]["uid"]}
    labels = {"app.kubernetes.io/managed-by": "pullgate", "pullgate.dev/license": name}
    metadata = {"name": f"{name}-license", "namespace": APP, "labels": labels, "ownerReferences": [reference]}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"license.yaml": "key"}}


def commands(heading: str, block: int = -1) -> list[str]:
    """The lines of the last block of commands of a part of the page, or of another one."""
    part = PAGE.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    blocks: list[tuple[str, str]] = re.findall(r"^```(\w*)\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)
    return [text for language, text in blocks if not language][block].splitlines()


def run(plane: ControlPlane, folder: Path, command: str) -> None:
    path = f"{tool('kubectl').parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "KUBECONFIG": str(plane.kubeconfig)}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr


def left(plane: ControlPlane, kind: str, *selector: str) -> int:
    return len(plane.kubectl("get", kind, "-A", *selector, "-o", "name").splitlines())


def test_to_delete_the_overlay_keeps_every_license_and_key(plane: ControlPlane, folder: Path) -> None:
    for command in commands("## Uninstall", 0):
        run(plane, folder, command)
    assert left(plane, "deployments") == 0
    assert left(plane, "licenses") == LICENSES
    assert left(plane, "secrets", "-l", "pullgate.dev/license") == LICENSES


def test_to_uninstall_everything_leaves_no_key_of_a_customer(plane: ControlPlane, folder: Path) -> None:
    for command in commands("## Uninstall"):
        run(plane, folder, command)
    assert left(plane, "secrets", "-l", "app.kubernetes.io/managed-by=pullgate") == 0
    assert left(plane, "crds") == 0


def test_server_side_apply_after_apply_finds_no_conflict(plane: ControlPlane, folder: Path) -> None:
    run(plane, folder, "kubectl apply --server-side -k deploy/crds")
    run(plane, folder, "kubectl apply --server-side -k overlay")
