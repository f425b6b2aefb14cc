"""The OCI distribution conformance suite, read-only, against the proxy: no failure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.catalog import API, STABLE, WORKER, catalog
from tests.support.clients.command import run
from tests.support.gate import APP, license_, registry, running, secret
from tests.support.tools import tool
from tests.support.upstreams import DockerRegistry

pytestmark = pytest.mark.conformance


async def test_the_conformance_suite_reads_through_the_proxy_without_a_failure(
    docker_registry_basic: DockerRegistry, tmp_path: Path
) -> None:
    upstream = docker_registry_basic
    image, subject = catalog()[WORKER, "1.0.0"], catalog()[API, STABLE]
    repository = "conformance/all"
    await upstream.push(repository, "1.0.0", image)
    await upstream.push(repository, "index", subject)
    documents = [
        secret("vendor", upstream.username, upstream.password),
        registry("upstream", upstream.host, secret="vendor"),
        license_("acme"),
    ]
    async with running(tmp_path / "resources", *documents) as gate:
        env = {
            "OCI_REGISTRY": gate.host,
            "OCI_TLS": "disabled",
            "OCI_REPO1": f"proxy/{APP}/upstream/{repository}",
            "OCI_REPO2": f"proxy/{APP}/upstream/{WORKER}",
            "OCI_USERNAME": "acme",
            "OCI_PASSWORD": gate.key("acme"),
            "OCI_VERSION": "1.1",
            "OCI_API_PUSH": "false",
            "OCI_API_TAGS_DELETE": "false",
            "OCI_API_MANIFESTS_DELETE": "false",
            "OCI_API_BLOBS_DELETE": "false",
            "OCI_RO_DATA_TAGS": "1.0.0 index",
            "OCI_RO_DATA_MANIFESTS": f"{image.digest} {subject.digest}",
            "OCI_RO_DATA_BLOBS": " ".join(image.blobs),
            "OCI_RO_DATA_REFERRERS": subject.digest,
            "OCI_RESULTS_DIR": str(tmp_path / "results"),
        }
        done = await run([tool("conformance")], env=env)
    # The suite prints its results, and may then end in a panic of its own YAML report: its words count.
    results = re.findall(r"^\s+([A-Z][^.\n]+)\.+:\s+(\S+)", done.output, re.MULTILINE)
    failed = [name for name, result in results if result.upper() in {"FAIL", "ERROR"}]
    assert not failed, done.output
    passed = {name.strip() for name, result in results if result.upper() == "PASS"}
    assert {
        "Ping",
        "Manifest get by digest",
        "Manifest get by tag",
        "Blob get",
        "Blob head",
        "Tag listing",
        "Referrers",
    } <= passed, done.output
