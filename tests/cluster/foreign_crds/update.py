"""Fetch the CRDs of the projects that deploy/components and examples/ write objects for: `python update.py`, with Go.

They come as Go modules, are cut down to the version in use, and lose their descriptions (eight ninths of their size).
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent

SOURCES = {
    "sigs.k8s.io/gateway-api@v1.7.0": [
        "config/crd/standard/gateway.networking.k8s.io_gateways.yaml",
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
    ],
    "github.com/cert-manager/cert-manager@v1.21.2": ["deploy/crds/cert-manager.io_issuers.yaml"],
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": [
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ],
    "github.com/fluxcd/source-controller@v1.10.1": ["config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml"],
    "github.com/fluxcd/kustomize-controller@v1.10.1": [
        "config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml"
    ],
}
"""Go module -> files in it."""


def fetch(module: str) -> Path:
    """The module's folder. One that wants a newer Go is fetched all the same."""
    done = subprocess.run(["go", "mod", "download", "-json", module], capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    folder = told.get("Dir") or _folder(module)
    if not Path(folder).is_dir():
        raise SystemExit(told.get("Error", done.stderr))
    return Path(folder)


def _folder(module: str) -> str:
    cache = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=True)
    return f"{cache.stdout.strip()}/{module}"


def cut(document: dict[str, Any]) -> dict[str, Any]:
    """The CRD with its v1 only, without descriptions and status."""
    spec = document["spec"]
    (version,) = (v for v in spec["versions"] if v["name"] == "v1")
    wanted = {key: version[key] for key in ("name", "served", "storage", "schema", "subresources") if key in version}
    wanted["storage"] = True
    metadata = {"name": document["metadata"]["name"]}
    for key, value in document["metadata"].get("annotations", {}).items():
        if key == "api-approved.kubernetes.io":
            metadata["annotations"] = {key: value}
    kept = {key: spec[key] for key in ("group", "names", "scope")}
    spec = {**kept, "versions": [without_descriptions(wanted)]}
    return {"apiVersion": document["apiVersion"], "kind": document["kind"], "metadata": metadata, "spec": spec}


def without_descriptions(value: Any) -> Any:
    """A schema without its prose; a property that is called description stays."""
    if isinstance(value, list):
        return [without_descriptions(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {k: without_descriptions(v) for k, v in value.items() if not (k == "description" and isinstance(v, str))}


def main() -> None:
    """Write each CRD to a file of its own."""
    for module, files in SOURCES.items():
        folder = fetch(module)
        for file in files:
            (document,) = (d for d in yaml.safe_load_all((folder / file).read_text()) if d)
            text = json.dumps(cut(document), separators=(",", ":"))
            (HERE / f"{document['metadata']['name']}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
