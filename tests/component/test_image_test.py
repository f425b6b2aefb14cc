"""An ImageTest on a folder: probed through the real parts, told in its status."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from pullgate.store.port import Key
from pullgate_operator.plan.image_test import WAIT
from tests.support.catalog import API, STABLE, WORKER, seed
from tests.support.folder import condition, eventually
from tests.support.gate import API_VERSION, APP, Gate, license_, registry, running, secret
from tests.support.ports import free_port
from tests.support.tls import Authority
from tests.support.upstreams import DockerRegistry, ScriptedRegistry, faults

TEST = Key("ImageTest", APP, "release")
RENDERED = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: api}}
spec: {{template: {{spec: {{containers: [{{name: api, image: "upstream.test/{API}:{STABLE}"}}]}}}}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {{name: nightly}}
spec:
  jobTemplate: {{spec: {{template: {{spec: {{containers: [{{name: x, image: "upstream.test/{WORKER}:1.0.0"}}]}}}}}}}}
"""


def image_test(*images: str, license_name: str = "", **spec: Any) -> dict[str, Any]:
    body = {**({"images": list(images)} if images else {}), **spec}
    if license_name:
        body["as"] = {"licenseRef": {"name": license_name}}
    metadata = {"name": "release", "namespace": APP}
    return {"apiVersion": API_VERSION, "kind": "ImageTest", "metadata": metadata, "spec": body}


def config_map(text: str) -> dict[str, Any]:
    metadata = {"name": "rendered", "namespace": APP}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"all.yaml": text}}


@contextlib.asynccontextmanager
async def stage(upstream: DockerRegistry, path: Path, wait: timedelta = WAIT) -> AsyncIterator[Gate]:
    """A Gate with the Registry upstream, and the Licenses acme and former."""
    documents = [
        secret("vendor", upstream.username, upstream.password),
        registry("upstream", upstream.host, secret="vendor", domains=["upstream.test"]),
        license_("acme", {"repositories": ["my-org/*"]}),
        license_("former", expiresAt="2026-01-01T00:00:00Z"),
    ]
    async with running(path / "resources", *documents, image_test_wait=wait, **reached()) as gate:
        yield gate


def reached() -> dict[str, Any]:
    port = free_port()
    return {"listen_port": port, "external_url": f"http://127.0.0.1:{port}"}


@pytest.fixture
async def gate(docker_registry_basic: DockerRegistry, tmp_path: Path) -> AsyncIterator[Gate]:
    """Its tests wait for nothing that is not there."""
    async with stage(docker_registry_basic, tmp_path, timedelta()) as gate:
        yield gate


def write(gate: Gate, *documents: dict[str, Any]) -> None:
    for document in documents:
        (gate.directory / f"{document['metadata']['name']}.yaml").write_text(yaml.safe_dump(document))


async def outcome(gate: Gate, reason: str) -> dict[str, Any]:
    """The ImageTest once its condition Ready has `reason`."""

    async def ask() -> dict[str, Any] | None:
        document = await gate.store.get(TEST)
        return document if condition(document, "Ready").get("reason") == reason else None

    found = await eventually(ask)
    assert found is not None
    return found


def failures(document: dict[str, Any]) -> dict[str, str]:
    return {row["image"]: row["reason"] for row in document["status"]["results"] if not row["passed"]}


async def test_images_are_tested_as_the_vendor(gate: Gate, docker_registry_basic: DockerRegistry) -> None:
    host = docker_registry_basic.host
    write(gate, image_test(f"{host}/{WORKER}:1.0.0", f"{host}/{API}:{STABLE}", "upstream.test/my-org/api:stable"))
    document = await outcome(gate, "Passed")
    assert document["status"]["summary"] == "3/3 passed"
    rows = {row["image"]: row for row in document["status"]["results"]}
    assert set(rows[f"{host}/{API}:{STABLE}"]["platforms"]) == {"linux/amd64", "linux/arm64"}
    assert rows[f"{host}/{WORKER}:1.0.0"]["size"] > 0


async def test_images_are_tested_as_a_customer(gate: Gate, docker_registry_basic: DockerRegistry) -> None:
    host = docker_registry_basic.host
    own = f"{gate.host}/proxy/{APP}/upstream/{API}:{STABLE}"
    write(gate, image_test(f"{host}/{WORKER}:1.0.0", own, license_name="acme"))
    await outcome(gate, "Passed")
    assert {record["license"] for record in gate.records() if record["kind"] == "blobs"} == {"acme"}
    write(gate, image_test(f"{host}/{WORKER}:1.0.0", f"{host}/other/thing:1", license_name="acme"))
    document = await outcome(gate, "NotEntitled")
    assert failures(document) == {f"{host}/other/thing:1": "NotEntitled"}
    write(gate, image_test(f"{host}/{WORKER}:1.0.0", license_name="former"))
    document = await outcome(gate, "LicenseExpired")
    assert "license former expired on 2026-01-01" in document["status"]["results"][0]["message"]


async def test_every_image_of_rendered_manifests_is_tested(gate: Gate) -> None:
    ref = {"configMapKeyRef": {"name": "rendered", "key": "all.yaml"}}
    write(gate, image_test(imagesFrom=ref))
    await outcome(gate, "ConfigMapMissing")
    write(gate, config_map("kind: Deployment\nspec: [\n"), image_test(imagesFrom=ref, retries=1))
    document = await outcome(gate, "InputInvalid")
    assert "line" in condition(document, "Ready")["message"]
    write(gate, config_map(RENDERED), image_test(imagesFrom=ref))
    document = await outcome(gate, "Passed")
    assert document["status"]["summary"] == "2/2 passed"


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("upstream.test/my-org/worker-a:9.9.9", "ManifestUnknown"),
        ("elsewhere.test/my-org/api:1", "RegistryUnknown"),
        ("upstream.test/My-Org/api:1", "ReferenceInvalid"),
    ],
)
async def test_an_image_that_cannot_be_pulled_fails_by_name(gate: Gate, image: str, reason: str) -> None:
    write(gate, image_test(image))
    document = await outcome(gate, reason)
    assert failures(document) == {image: reason}
    assert document["status"]["results"][0]["hint"]
    assert condition(document, "Stalled")["status"] == "True"


async def test_a_layer_that_is_missing_is_found_by_depth(gate: Gate) -> None:
    async with ScriptedRegistry("basic") as upstream:
        await seed(upstream)
        upstream.on("GET|HEAD", "/blobs/", faults.refuse(404, "BLOB_UNKNOWN"), after_login=True)
        documents = [
            secret("scripted", upstream.username, upstream.password),
            registry("scripted", upstream.host, secret="scripted"),
        ]
        await gate.apply(*documents)
        write(gate, image_test(f"{upstream.host}/{WORKER}:1.0.0", depth="Manifest"))
        await outcome(gate, "Passed")
        write(gate, image_test(f"{upstream.host}/{WORKER}:1.0.0", depth="Blobs"))
        await outcome(gate, "BlobUnknown")


@pytest.mark.parametrize("body", [b"<html>a page</html>", b"{}", b"[]", b'{"errors": []}', b"ami-id\nhostname\n"])
async def test_a_body_that_is_no_manifest_does_not_pass(gate: Gate, body: bytes) -> None:
    async with ScriptedRegistry() as upstream:
        await seed(upstream)
        upstream.on("GET|HEAD", "/manifests/", faults.body(body), faults.no_digest())
        await gate.apply(registry("scripted", upstream.host))
        write(gate, image_test(f"{upstream.host}/{WORKER}:1.0.0", depth="Manifest"))
        document = await outcome(gate, "UpstreamProtocol")
        assert ", not a manifest" in document["status"]["results"][0]["message"]


async def waiting(gate: Gate, reason: str) -> str:
    """The message of the ImageTest's condition Ready when it waits for `reason`."""
    document = await outcome(gate, reason)
    assert condition(document, "Reconciling")["status"] == "True"
    assert not condition(document, "Stalled")
    return str(condition(document, "Ready")["message"])


def events(gate: Gate) -> list[str]:
    lines = (gate.directory / ".pullgate" / "events.jsonl").read_text().splitlines()
    return [line for line in lines if '"ImageTest"' in line]


async def test_a_test_of_a_license_that_is_not_there_waits_for_it(
    docker_registry_basic: DockerRegistry, tmp_path: Path
) -> None:
    async with stage(docker_registry_basic, tmp_path) as gate:
        write(gate, image_test(f"{docker_registry_basic.host}/{WORKER}:1.0.0", license_name="nobody"))
        words = await waiting(gate, "LicenseUnknown")
        assert words == "waiting: there is no License nobody in my-app; create it or mend spec.as"
        write(gate, license_("nobody", {"repositories": ["my-org/*"]}))
        await outcome(gate, "Passed")
        assert not [line for line in events(gate) if "Unknown" in line]


@pytest.mark.parametrize("license_name", ["", "acme"])
async def test_a_test_that_is_applied_before_all_that_it_names_waits_for_it(
    docker_registry_basic: DockerRegistry, tmp_path: Path, license_name: str
) -> None:
    upstream = docker_registry_basic
    async with running(tmp_path / "resources", **reached()) as gate:
        host = upstream.host
        images = [f"{host}/{WORKER}:1.0.0"]
        if license_name:
            write(gate, license_("acme", {"repositories": ["my-org/*"]}))
            images += [f"{gate.host}/proxy/{APP}/upstream/{API}:{STABLE}"]
        ref = {"configMapKeyRef": {"name": "rendered", "key": "all.yaml"}}
        write(gate, image_test(*images, imagesFrom=ref, license_name=license_name))
        await waiting(gate, "ConfigMapMissing")
        write(gate, config_map(RENDERED.replace("upstream.test", host)))
        assert await waiting(gate, "RegistryUnknown") == f"waiting: no Registry of app {APP} is for {host}/{WORKER}"
        write(gate, registry("upstream", host, secret="vendor"))
        assert "there is no Secret vendor" in await waiting(gate, "CredentialsMissing")
        write(gate, secret("vendor", upstream.username, upstream.password))
        document = await outcome(gate, "Passed")
        assert not condition(document, "Reconciling")
        assert len(document["status"]["history"]) == 1
        assert [line for line in events(gate) if "Passed" in line] == events(gate)


async def test_a_test_that_has_waited_long_enough_is_stalled_and_passes_once_its_registry_comes(
    docker_registry_basic: DockerRegistry, tmp_path: Path
) -> None:
    host, (good, late) = docker_registry_basic.host, (f"upstream.test/{API}:{STABLE}", "late.test/my-org/api:stable")
    late_registry = registry("late", host, secret="vendor", domains=["late.test"])
    async with stage(docker_registry_basic, tmp_path, timedelta(seconds=2)) as gate:
        write(gate, image_test(good, late))
        await waiting(gate, "RegistryUnknown")
        document = await stalled(gate)
        assert failures(document) == {late: "RegistryUnknown"}, "what can be asked for is tested all the same"
        write(gate, late_registry)
        await outcome(gate, "Passed")
        (gate.directory / "late.yaml").unlink()
        write(gate, image_test(good, late, depth="Manifest"))
        await stalled(gate)
    async with Gate(gate.directory, **reached()) as gate:
        write(gate, late_registry)
        await outcome(gate, "Passed")


async def test_a_private_ca_of_the_proxy_is_trusted_and_a_changed_one_without_a_restart(
    docker_registry_basic: DockerRegistry, tmp_path: Path, authority: Authority
) -> None:
    upstream, port, ca = docker_registry_basic, free_port(), tmp_path / "ca.crt"
    cert, key = authority.write_pair(tmp_path)
    documents = [
        secret("vendor", upstream.username, upstream.password),
        registry("upstream", upstream.host, secret="vendor"),
        license_("acme", {"repositories": ["my-org/*"]}),
    ]
    ca.write_text(Authority("Another authority").pem)
    where = {"listen_port": port, "external_url": f"https://localhost:{port}", "tls_cert": cert, "tls_key": key}
    async with running(tmp_path / "resources", *documents, proxy_ca=ca, **where) as gate:
        test = image_test(f"{upstream.host}/{WORKER}:1.0.0", license_name="acme", retries=0)
        write(gate, test)
        document = await outcome(gate, "UpstreamTLS")
        assert "unable to get local issuer certificate" in condition(document, "Ready")["message"]
        ca.write_text("none")
        write(gate, test | {"spec": {**test["spec"], "depth": "Manifest"}})
        document = await outcome(gate, "CAInvalid")
        assert f"CA file {ca} holds no certificate" in condition(document, "Ready")["message"]
        ca.write_text(f"# Größe: what is no certificate is passed over\n{authority.pem}")
        write(gate, test)
        await outcome(gate, "Passed")


async def stalled(gate: Gate) -> dict[str, Any]:
    """The ImageTest once it is Stalled."""

    async def ask() -> dict[str, Any] | None:
        document = await gate.store.get(TEST)
        return document if condition(document, "Stalled") else None

    found = await eventually(ask)
    assert found is not None
    return found
