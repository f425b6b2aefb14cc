"""The commands against a cluster, as kubectl is used: its kubeconfig, its context, its namespace."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import gate
from tests.support.cli import Ran, pullgate
from tests.support.cluster.kubectl import Kubectl
from tests.support.images import image
from tests.support.kustomize import DEPLOY
from tests.support.upstreams.docker_registry import DockerRegistry

SYSTEM = "pullgate-system"


@pytest.fixture
async def upstream() -> AsyncIterator[DockerRegistry]:
    async with DockerRegistry("basic") as registry:
        await registry.push("my-org/api", "1", image("api"))
        yield registry


@pytest.fixture
async def vendor(cluster: Kubectl, app: str, upstream: DockerRegistry, tmp_path: Path) -> AsyncIterator[str]:
    """An app with a Registry, and an operator at work."""
    cluster.kubectl("apply", "-k", DEPLOY)
    cluster.kubectl("delete", "deployment", "-n", SYSTEM, "pullgate-operator", "pullgate-proxy")
    cluster.apply(
        gate.secret("robot", upstream.username, upstream.password, namespace=app),
        gate.registry("upstream", upstream.host, secret="robot", namespace=app),
    )
    kubeconfig = cluster.kubeconfig_of(SYSTEM, "pullgate-operator", tmp_path)
    command = ["-m", "pullgate_cli", "operator", "--external-url", "http://127.0.0.1:1", "--admin", "127.0.0.1:0"]
    with (tmp_path / "operator.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            "--kubeconfig",
            str(kubeconfig),
            stdout=log,
            stderr=log,
            env={**os.environ, "POD_NAME": "cli-tests"},
        )
    try:
        yield app
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def test_a_license_is_issued_shown_suspended_and_explained(
    cluster: Kubectl, vendor: str, upstream: DockerRegistry
) -> None:
    async def run(*arguments: str) -> Ran:
        shows = "--reveal" in arguments
        return await pullgate(*arguments, "--kubeconfig", cluster.kubeconfig, "-n", vendor, shows_secrets=shows)

    made = await run("license", "create", "acme", "--customer", "ACME Corp", "--repository", "my-org/**")
    assert made.code == 0, made.output
    shown = await run("license", "show", "acme", "--reveal", "-o", "json")
    data = cluster.get("secret", "acme-pull", vendor)["data"][".dockerconfigjson"]
    auths = json.loads(base64.b64decode(data))["auths"]
    assert shown.data["key"] == next(iter(auths.values()))["password"]
    assert "managedFields" not in shown.output
    tested = await run("registry", "test", "upstream", "--image", "my-org/api:1")
    assert tested.code == 0, tested.output
    good = await run("gate", f"{upstream.host}/my-org/api:1")
    assert good.code == 0, good.output
    bad = await run("gate", f"{upstream.host}/my-org/api:2", "--in-cluster", "-o", "json")
    assert (bad.code, bad.data["runs"][0]["results"][0]["reason"]) == (1, "ManifestUnknown")
    reference = f"images.test/proxy/{vendor}/upstream/my-org/api:1"
    assert (await run("explain", "acme", reference)).code == 0
    assert (await run("license", "suspend", "acme", "--reason", "unpaid")).code == 0
    cluster.kubectl("wait", "license/acme", "-n", vendor, "--for=condition=Valid=False", "--timeout=30s")
    refused = await run("explain", "acme", reference, "-o", "json")
    assert (refused.code, refused.data["reason"]) == (1, "LicenseSuspended")
    table = await run("license", "list")
    assert "Suspended" in table.output
    doctor = await run("doctor", "-o", "json")
    assert {"CRD licenses.pullgate.dev": "ok", "Lease pullgate-operator": "ok"}.items() <= {
        f["about"]: f["state"] for f in doctor.data["findings"]
    }.items()


async def test_rights_that_are_missing_are_told_and_end_with_2(cluster: Kubectl, vendor: str, tmp_path: Path) -> None:
    cluster.kubectl("wait", "serviceaccount/default", "-n", vendor, "--for=create", "--timeout=45s")
    nobody = cluster.kubeconfig_of(vendor, "default", tmp_path)
    ran = await pullgate("license", "list", "--kubeconfig", nobody, "-n", vendor)
    assert ran.code == 2
    assert "cannot list resource" in ran.output
    context = await pullgate("license", "list", "--kubeconfig", nobody, "--context", "nowhere")
    assert context.code == 2
    assert "Traceback" not in context.output
