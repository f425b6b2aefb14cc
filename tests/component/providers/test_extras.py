"""Without a cloud's library: the Registry's condition and `registry test` name the extra; the image has all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pullgate.resources.conditions import read_condition
from tests.component.test_standalone import standalone
from tests.support.cli import pullgate
from tests.support.folder import Folder, eventually
from tests.support.gate import APP, registry

ROOT = Path(__file__).parents[3]
KEYS = {"accessKeyID": "AKIACANARYID", "secretAccessKey": "CANARY-KEY"}
PRINCIPAL = {"tenantID": "t", "clientID": "c", "clientSecret": "CANARY-KEY"}
ECR_HOST = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
EXTRAS = [
    ("ECR", ECR_HOST, KEYS, {}, "aws", "botocore"),
    ("ECR", ECR_HOST, {}, {"aws": {}}, "aws", "botocore"),
    ("ECRPublic", "public.ecr.aws", KEYS, {}, "aws", "botocore"),
    ("ACR", "myregistry.azurecr.io", PRINCIPAL, {}, "azure", "azure-identity"),
    ("ACR", "myregistry.azurecr.io", {}, {"azure": {"tenantID": "t", "clientID": "c"}}, "azure", "azure-identity"),
    ("GAR", "europe-west1-docker.pkg.dev", {}, {"gcp": {}}, "gcp", "google-auth"),
]
"""Type, host, the keys of its Secret or else its workload identity, the extra, the library."""


def without_libraries(directory: Path) -> str:
    """A PYTHONPATH on which the clouds' libraries are not there: empty packages stand before them."""
    for name in ("botocore", "azure", "google"):
        (directory / name).mkdir(parents=True)
        (directory / name / "__init__.py").write_text("")
    return str(directory)


def documents(type_: str, host: str, keys: dict[str, str], identity: dict[str, Any]) -> list[dict[str, Any]]:
    """A Registry, and its Secret where it has one."""
    found = registry("up", host, type=type_, plain_http=False)
    found["spec"]["credentials"] = {"secretRef": {"name": "vendor"}} if keys else {"workloadIdentity": identity}
    metadata = {"name": "vendor", "namespace": APP}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": keys}
    return [found, secret] if keys else [found]


@pytest.mark.parametrize(
    ("type_", "host", "keys", "identity", "extra", "library"),
    EXTRAS,
    ids=[f"{row[0]}-{'keys' if row[2] else 'identity'}" for row in EXTRAS],
)
async def test_a_missing_library_is_the_reason_of_the_condition_and_names_the_extra(
    type_: str, host: str, keys: dict[str, str], identity: dict[str, Any], extra: str, library: str, tmp_path: Path
) -> None:
    folder = Folder(tmp_path / "folder")
    folder.write("all.yaml", yaml.safe_dump_all(documents(type_, host, keys, identity)))
    path = without_libraries(tmp_path / "missing")
    status = folder.private(f"status/{APP}/registry.up.yaml")

    async def available() -> dict[str, Any]:
        found = read_condition(yaml.safe_load(status.read_text()), "CredentialsAvailable") if status.exists() else {}
        return dict(found) if found.get("status") == "False" else {}

    async with standalone(folder, PYTHONPATH=path):
        condition = await eventually(available)
    assert condition["reason"] == "ExtraMissing"
    assert f"the library {library} is not installed; install pullgate[{extra}]" in condition["message"]
    if keys:  # an identity is the operator's, which is not asked for here
        ran = await pullgate("registry", "test", "up", "--folder", folder.path, "-n", APP, PYTHONPATH=path)
        assert ran.code == 1
        printed = " ".join(ran.output.split())
        assert "ExtraMissing" in printed
        assert f"install pullgate[{extra}], or use Pullgate" in printed
        assert "CANARY-KEY" not in ran.output


def test_the_image_has_every_library() -> None:
    locked = {line.partition("==")[0] for line in (ROOT / "requirements" / "image.lock").read_text().splitlines()}
    assert {library for *_, library in EXTRAS} | {"requests"} <= locked
    installed = re.findall(r"-r requirements/(\w+)\.lock", (ROOT / "Dockerfile").read_text())
    assert "image" in installed
