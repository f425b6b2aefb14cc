"""An upstream that still knows Docker's schema 1: what is stored arrives, and no conversion looks like tampering."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.content import Bytes, digest_of
from tests.support.gate import APP, Document, Gate, license_, registry, running, secret
from tests.support.images import DOCKER_SCHEMA2, OCI_INDEX, OCI_MANIFEST, image, index, schema1
from tests.support.upstreams import DockerRegistry, ScriptedRegistry, faults
from tests.support.upstreams.wire import Reply, Request

REPOSITORY = "my-org/old"
BASE = f"/v2/proxy/{APP}/upstream/{REPOSITORY}/manifests"
OLD = schema1("old")
DOCKER, OCI = image("docker", flavour=DOCKER_SCHEMA2), image("oci")
LIST = index([image("amd", flavour=DOCKER_SCHEMA2)], flavour=DOCKER_SCHEMA2)


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedRegistry]:
    async with ScriptedRegistry() as upstream:
        upstream.add(REPOSITORY, "old", OLD)
        yield upstream


@pytest.fixture(params=[0, 2**20], ids=["no cache", "cache"])
async def gate(tmp_path: Path, upstream: ScriptedRegistry, request: pytest.FixtureRequest) -> AsyncIterator[Gate]:
    documents = [registry("upstream", upstream.host), license_("acme")]
    async with running(tmp_path / "resources", *documents, manifest_cache=request.param) as gate:
        yield gate


def documents_of(real: DockerRegistry) -> list[Document]:
    vendor = secret("vendor", real.username, real.password)
    return [vendor, registry("upstream", real.host, secret="vendor"), license_("acme")]


def convert(_: Request, __: Reply) -> Reply:
    headers = (("Content-Type", OLD.media_type), ("Docker-Content-Digest", OLD.digest))
    return Reply(200, headers, Bytes(OLD.manifest))


def convert_for_old_clients(request: Request, right: Reply) -> Reply:
    """As distribution 2.x: schema 1 for a client that does not name schema 2, whatever else its Accept has."""
    return right if DOCKER_SCHEMA2.manifest in request.headers.get("Accept", "") else convert(request, right)


@pytest.mark.parametrize("accept", ["", "*/*", OCI_MANIFEST, "application/json"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_client_that_does_not_name_schema_2_gets_the_stored_image(
    gate: Gate, upstream: ScriptedRegistry, accept: str, method: str
) -> None:
    upstream.add(REPOSITORY, "new", DOCKER)
    upstream.on("GET|HEAD", "/manifests/new", convert_for_old_clients)
    answer = await gate.ask(method, f"{BASE}/new", gate.key("acme"), headers={"Accept": accept})
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (200, DOCKER.digest)
    assert answer.headers["Content-Type"] == DOCKER_SCHEMA2.manifest


@pytest.mark.parametrize(
    ("accept", "tags"),
    [
        ("*/*", ("docker", "oci", "list")),
        (OCI_MANIFEST, ("docker", "oci")),
        (f"{OCI_MANIFEST}, {OCI_INDEX}", ("list",)),
    ],
)
async def test_the_real_distribution_hands_out_what_is_stored(
    tmp_path: Path, docker_registry_basic: DockerRegistry, accept: str, tags: tuple[str, ...]
) -> None:
    stored = {"docker": DOCKER, "oci": OCI, "list": LIST}
    for tag, pushed in stored.items():
        await docker_registry_basic.push(REPOSITORY, tag, pushed)
    async with running(tmp_path, *documents_of(docker_registry_basic)) as gate:
        for tag in tags:
            answer = await gate.get(f"{BASE}/{tag}", gate.key("acme"), headers={"Accept": accept})
            assert (answer.status, answer.body) == (200, stored[tag].manifest)


@pytest.mark.parametrize("reference", ["old", OLD.digest], ids=["tag", "digest"])
async def test_an_image_that_is_stored_as_schema_1_is_pulled_by_the_digest_of_what_was_signed(
    gate: Gate, reference: str
) -> None:
    for method in ("HEAD", "GET", "GET"):
        answer = await gate.ask(method, f"{BASE}/{reference}", gate.key("acme"))
        assert (answer.status, answer.headers["Docker-Content-Digest"]) == (200, OLD.digest)
        assert answer.headers["Content-Type"] == OLD.media_type
        assert method == "HEAD" or answer.body == OLD.manifest


@pytest.mark.parametrize("reference", ["old", DOCKER.digest], ids=["tag", "digest"])
async def test_schema_1_under_another_digest_is_the_registrys_answer_and_no_forged_image(
    gate: Gate, upstream: ScriptedRegistry, reference: str
) -> None:
    upstream.on("GET|HEAD", "/manifests/", convert, faults.header("Docker-Content-Digest", DOCKER.digest))
    answer = await gate.get(f"{BASE}/{reference}", gate.key("acme"))
    assert (answer.status, answer.fault) == (502, "UpstreamProtocol")
    assert f"it sent a manifest of Docker's schema 1 instead of {DOCKER.digest}" in answer.message
    assert "do not use it" not in answer.message


async def test_a_signature_of_other_layers_than_it_stands_beside_is_refused(
    gate: Gate, upstream: ScriptedRegistry
) -> None:
    document = json.loads(OLD.manifest)
    document["fsLayers"] = [{"blobSum": digest_of(b"another")}]
    upstream.on("GET", "/manifests/", faults.body(json.dumps(document, indent=3).encode()))
    assert (await gate.get(f"{BASE}/{OLD.digest}", gate.key("acme"))).fault == "UpstreamProtocol"


async def test_other_bytes_than_a_digest_names_are_a_mismatch_as_before(gate: Gate, upstream: ScriptedRegistry) -> None:
    upstream.add(REPOSITORY, "new", DOCKER)
    upstream.on("GET", "/manifests/", faults.body(OCI.manifest))
    assert (await gate.get(f"{BASE}/{DOCKER.digest}", gate.key("acme"))).fault == "DigestMismatch"


async def test_a_client_without_oci_types_hears_that_they_may_be_what_it_lacks(
    tmp_path: Path, docker_registry_basic: DockerRegistry
) -> None:
    await docker_registry_basic.push(REPOSITORY, "oci", OCI)
    async with running(tmp_path, *documents_of(docker_registry_basic)) as gate:
        headers = {"Accept": DOCKER_SCHEMA2.manifest}
        answer = await gate.get(f"{BASE}/oci", gate.key("acme"), headers=headers)
        assert (answer.status, answer.fault) == (404, "ManifestUnknown")
        assert "use a client that accepts these types" in answer.message
        assert "these types" not in (await gate.get(f"{BASE}/nothing", gate.key("acme"))).message
