"""The commands of docs/install.md, word by word, on a control plane of their own: what stays, and what goes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster.control_plane import ControlPlane, control_plane
from tests.support.cluster.pullgate import license_
from tests.support.install_page import commands, reader_folder, run

pytestmark = pytest.mark.own_control_plane

APP = "my-app"
LICENSES = 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The reader's working directory."""
    return reader_folder(tmp_path)


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
