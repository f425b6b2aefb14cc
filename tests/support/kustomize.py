"""The output of `kubectl kustomize` for the folders in deploy/, as documents."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.tools import tool

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPONENTS = sorted(path.parent.name for path in DEPLOY.glob("components/*/kustomization.yaml"))

Document = dict[str, Any]


def build(folder: Path) -> list[Document]:
    """The documents of a kustomization. Raises RuntimeError with what kubectl said."""
    done = subprocess.run(
        [tool("kubectl"), "kustomize", folder], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def write_overlay(into: Path, resource: Path, components: Sequence[str]) -> Path:
    """An overlay in the folder `into`: `resource` with `components` of deploy/components."""
    paths = [DEPLOY / "components" / name for name in components]
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(resource, into)],
        "components": [os.path.relpath(path, into) for path in paths],
    }
    (into / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    return into


def of_kind(documents: Sequence[Document], *kinds: str) -> list[Document]:
    """Those of `kinds`."""
    return [document for document in documents if document["kind"] in kinds]


def name_of(document: Document) -> str:
    """Kind and name, to tell of it."""
    return f"{document['kind']}/{document['metadata']['name']}"
