"""A body that is no manifest or list is the upstream's fault, at every door, and nothing of it is kept or relayed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.catalog import WORKER, catalog, seed
from tests.support.cli import pullgate
from tests.support.gate import APP, Gate, license_, registry, running
from tests.support.upstreams import ScriptedRegistry, faults
from tests.support.upstreams.scripted import Fault
from tests.unit.oci.test_manifest_form import FAKES, SECRET

IMAGE = catalog()[WORKER, "1.0.0"]
BASE = f"/v2/proxy/{APP}/up/{WORKER}"


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedRegistry]:
    async with ScriptedRegistry() as upstream:
        await seed(upstream)
        yield upstream


@pytest.fixture(params=[0, 2**20], ids=["no cache", "cache"])
async def gate(tmp_path: Path, upstream: ScriptedRegistry, request: pytest.FixtureRequest) -> AsyncIterator[Gate]:
    documents = [registry("up", upstream.host), license_("acme")]
    async with running(tmp_path / "resources", *documents, manifest_cache=request.param) as gate:
        yield gate


def sending(body: bytes, content_type: str | None = None) -> list[Fault]:
    """Answer 200 with `body`; all other headers are right."""
    changes = [faults.body(body), faults.no_digest()]
    if content_type is not None:
        changes.append(faults.header("Content-Type", content_type))
    return changes


@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain"])
@pytest.mark.parametrize("fake", sorted(FAKES))
async def test_no_client_gets_it_and_the_next_pull_is_right(
    gate: Gate, upstream: ScriptedRegistry, fake: str, content_type: str | None
) -> None:
    body, words = FAKES[fake]
    upstream.on("GET|HEAD", "/manifests/", *sending(body, content_type))
    for method in ("GET", "HEAD"):
        for reference in ("1.0.0", IMAGE.digest):
            answer = await gate.ask(method, f"{BASE}/manifests/{reference}", gate.key("acme"))
            # The body claims to be the manifest of this digest but is not: it was changed in transit.
            changed = content_type is None and reference == IMAGE.digest
            fault = "DigestMismatch" if changed and not fake.startswith("schema 1") else "UpstreamProtocol"
            assert (answer.status, answer.fault) == (502, fault), (method, reference)
            assert SECRET.encode() not in answer.body
            if method == "GET" and not changed:
                assert f"it sent {words}, not a manifest" in answer.message
    upstream.heal()
    answer = await gate.get(f"{BASE}/manifests/1.0.0", gate.key("acme"))
    assert (answer.status, answer.body) == (200, IMAGE.manifest)


async def test_a_page_that_a_head_calls_good_is_looked_at(gate: Gate, upstream: ScriptedRegistry) -> None:
    upstream.on("HEAD", "/manifests/", faults.header("Content-Type", "text/html"))
    upstream.on("GET", "/manifests/", *sending(b"{}"))
    answer = await gate.ask("HEAD", f"{BASE}/manifests/1.0.0", gate.key("acme"))
    assert (answer.status, answer.fault) == (502, "UpstreamProtocol")


@pytest.mark.parametrize("rule", [False, True], ids=["all tags", "a tag rule"])
@pytest.mark.parametrize("fake", ["a page", "an empty object", "a list", "an error", "metadata of a cloud"])
async def test_a_list_of_tags_that_is_none_is_refused(
    tmp_path: Path, upstream: ScriptedRegistry, fake: str, rule: bool
) -> None:
    body, words = FAKES[fake]
    entitlement = {"repositories": ["**"], **({"tags": {"match": ["1.*"]}} if rule else {})}
    documents = [registry("up", upstream.host), license_("acme", entitlement)]
    async with running(tmp_path / "resources", *documents) as gate:
        upstream.on("GET", "/tags/list", *sending(body))
        answer = await gate.get(f"{BASE}/tags/list", gate.key("acme"))
        assert (answer.status, answer.fault) == (502, "UpstreamProtocol")
        assert f"it sent {words}, not a list of tags" in answer.message


@pytest.mark.parametrize("fake", ["a page", "an empty object", "a list", "an error"])
async def test_an_upstream_that_sends_it_for_everything_has_no_empty_list_of_referrers(
    gate: Gate, upstream: ScriptedRegistry, fake: str
) -> None:
    upstream.on("GET|HEAD", "/manifests/|/referrers/", faults.answer(200, FAKES[fake][0]))
    answer = await gate.get(f"{BASE}/referrers/{IMAGE.digest}", gate.key("acme"))
    assert (answer.status, answer.fault) == (502, "UpstreamProtocol")


@pytest.mark.parametrize("fake", ["a page", "an empty object", "a list", "an error", "metadata of a cloud"])
async def test_registry_test_does_not_pass_it(upstream: ScriptedRegistry, tmp_path: Path, fake: str) -> None:
    body, words = FAKES[fake]
    upstream.on("GET|HEAD", "/manifests/", *sending(body))
    options = ["--type", "Generic", "--host", upstream.host, "--plain-http", "--image", f"{WORKER}:1.0.0"]
    ran = await pullgate("registry", "test", *options)
    assert ran.code == 1
    assert "UpstreamProtocol" in ran.output
    assert f"it sent {words}, not a manifest" in " ".join(ran.output.split())
    assert SECRET not in ran.output
