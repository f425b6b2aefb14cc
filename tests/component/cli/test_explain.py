"""`explain` says what the proxy does: the same verdict for every license and reference, and what decided it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.catalog import API, STABLE, WORKER, catalog
from tests.support.cli import pullgate
from tests.support.gate import APP, Gate, license_, registry, running, secret
from tests.support.upstreams import DockerRegistry

DOMAIN = "images.myapp.test"
LICENSES = [
    license_("all"),
    license_("worker", {"registry": "upstream", "repositories": [WORKER]}),
    license_("other-registry", {"registry": "paused", "repositories": ["**"]}),
    license_("tagged", {"repositories": ["my-org/*"], "tags": {"match": [STABLE]}}),
    license_("semver", {"repositories": ["my-org/*"], "tags": {"semver": ">=1 <2"}}),
    license_("over", expiresAt="2026-01-01T00:00:00Z"),
    license_("early", notBefore="2090-01-01T00:00:00Z"),
    license_("off", suspended={"reason": "unpaid"}),
    license_("none", {"repositories": ["something/else"]}),
]
REFERENCES = [
    f"HOST/proxy/{APP}/upstream/{WORKER}:1.0.0",
    f"HOST/proxy/{APP}/upstream/{API}:{STABLE}",
    f"HOST/proxy/{APP}/nowhere/{WORKER}:1.0.0",
    f"HOST/proxy/another/upstream/{WORKER}:1.0.0",
    f"HOST/proxy/{APP}/upstream/hidden/thing:1",
    f"HOST/proxy/{APP}/upstream/my-org/none:1",
    f"HOST/proxy/{APP}/upstream/{WORKER}:9.9.9",
    f"HOST/proxy/{APP}/paused/{WORKER}:1.0.0",
    f"HOST/{WORKER}:1.0.0",
]


@pytest.fixture(scope="module")
def upstream(docker_registry_basic: DockerRegistry) -> DockerRegistry:
    return docker_registry_basic


@pytest.fixture
async def gate(upstream: DockerRegistry, tmp_path: Path) -> AsyncIterator[Gate]:
    documents = [
        secret("vendor", upstream.username, upstream.password),
        registry("upstream", upstream.host, secret="vendor", repositories=["my-org/**"], domains=[DOMAIN]),
        registry("paused", "paused.test", secret="vendor", suspend=True),
        *LICENSES,
    ]
    async with running(tmp_path / "resources", *documents) as gate:
        yield gate


async def verdict_of_the_proxy(gate: Gate, name: str, reference: str) -> str:
    """The reason of a pull's answer; Ok for an image."""
    path, _, tag = reference.partition("/")[2].rpartition(":")
    answer = await gate.get(f"/v2/{path}/manifests/{tag}", gate.key(name))
    return answer.fault or "Ok"


async def test_explain_and_the_proxy_come_to_the_same_verdict(gate: Gate) -> None:
    for document in LICENSES:
        name = document["metadata"]["name"]
        for text in REFERENCES:
            reference = text.replace("HOST", gate.host)
            asked = await pullgate("explain", name, reference, "--folder", gate.directory, "-o", "json")
            reason = asked.data["reason"]
            assert asked.code == (0 if reason == "Ok" else 1)
            assert reason == await verdict_of_the_proxy(gate, name, reference), f"{name} {reference}: {asked.output}"


async def explained(gate: Gate, *arguments: str) -> str:
    return (await pullgate("explain", *arguments, "--folder", gate.directory)).output


async def test_each_step_names_the_rule_that_decided_and_the_next_move(gate: Gate) -> None:
    path = f"{gate.host}/proxy/{APP}/upstream/"
    refused = await explained(gate, "tagged", f"{path}{API}:9.9.9", "--offline")
    assert f"9.9.9 is none of the tags that tagged covers: match {STABLE} (spec.entitlements[0].tags)" in refused
    assert "refused: NotEntitled; vendor: widen spec.entitlements[0].tags of tagged" in refused
    assert "spec.suspended" in await explained(gate, "off", f"{path}{API}:1")
    assert "its domain" in await explained(gate, "all", f"{DOMAIN}/{WORKER}:1.0.0", "--offline")
    assert "app another" in await explained(gate, "all", f"{gate.host}/proxy/another/upstream/{API}:1")
    missing = await explained(gate, "all", f"{path}{WORKER}:9.9.9")
    assert "ManifestUnknown; vendor: check the tag, or push it" in missing


async def test_the_registry_of_several_for_one_host_is_named_with_the_others(
    gate: Gate, upstream: DockerRegistry
) -> None:
    more = registry("workers", upstream.host, secret="vendor", repositories=[WORKER])
    await gate.apply(more)
    by_host = await explained(gate, "all", f"{upstream.host}/{WORKER}:1.0.0", "--offline")
    assert "Registry workers" in by_host
    assert "closer than those of upstream" in by_host
    assert "Registry upstream" in await explained(gate, "all", f"{upstream.host}/{API}:{STABLE}", "--offline")
    named = await explained(gate, "all", f"{gate.host}/proxy/{APP}/upstream/{WORKER}:1.0.0", "--offline")
    assert "Registry upstream" in named
    assert "closer than" not in named


async def test_a_day_to_come_can_be_asked_for(gate: Gate) -> None:
    reference = f"{gate.host}/proxy/{APP}/upstream/{WORKER}:1.0.0"
    assert "may be pulled" in await explained(gate, "over", reference, "--at", "2025-12-31")
    assert "may be pulled" in await explained(gate, "early", reference, "--at", "2090-01-01")


async def test_what_is_no_reference_is_a_usage_error(gate: Gate) -> None:
    ran = await pullgate("explain", "all", "my org/api", "--folder", gate.directory)
    assert ran.code == 2
    assert "no space" in ran.output


async def test_under_a_tag_rule_a_digest_is_proven_or_refused_as_the_proxy_does(gate: Gate) -> None:
    names = {"allowed": STABLE, "hidden": "1.0.0"}
    repositories = {"allowed": API, "hidden": WORKER}
    for what, code in (("allowed", 0), ("hidden", 1)):
        digest = catalog()[repositories[what], names[what]].digest
        reference = f"{gate.host}/proxy/{APP}/upstream/{repositories[what]}@{digest}"
        ran = await pullgate("explain", "tagged", reference, "-n", APP, "--folder", str(gate.directory), "-o", "json")
        path = f"/v2/proxy/{APP}/upstream/{repositories[what]}/manifests/{digest}"
        answer = await gate.get(path, gate.key("tagged"))
        assert (ran.code, ran.data["allowed"]) == (code, code == 0), ran.output
        assert (answer.status == 200) == (code == 0)


@pytest.mark.parametrize("offline", [True, False])
async def test_what_was_not_proven_is_not_said_to_be_allowed(gate: Gate, offline: bool) -> None:
    """Offline nothing is checked, and only the proxy knows how much of a limit is used up."""
    await gate.apply(license_("limited", limits={"pullsPerHour": 1}))
    reference = f"{gate.host}/proxy/{APP}/upstream/{WORKER}:1.0.0"
    arguments = ["explain", "all" if offline else "limited", reference, "-n", APP, "--folder", str(gate.directory)]
    arguments += ["--offline"] if offline else []
    ran = await pullgate(*arguments)
    assert ran.code == 2, ran.output
    assert "may be pulled" not in ran.output
    assert "not proven" in ran.output
    data = (await pullgate(*arguments, "-o", "json")).data
    assert (data["allowed"], data["reason"]) == (None, "")
