"""A real API server takes the CRDs, refuses each broken document in words, and prints what answers the question."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.support.cluster.kubectl import Kubectl, KubectlFailed
from tests.support.documents import BROKEN, TAKEN, Broken, Document, image_test, license_, registry


def test_the_crds_are_taken_without_a_warning(cluster: Kubectl) -> None:
    found = json.loads(cluster.kubectl("get", "crd", "-l", "app.kubernetes.io/part-of=pullgate", "-o", "json"))
    assert {crd["spec"]["names"]["kind"] for crd in found["items"]} == {"Registry", "License", "ImageTest"}
    for crd in found["items"]:
        conditions = {c["type"]: c["status"] for c in crd["status"]["conditions"]}
        assert conditions["Established"] == "True"
        assert "NonStructuralSchema" not in conditions


@pytest.mark.parametrize("broken", BROKEN, ids=[broken.rule for broken in BROKEN])
def test_a_broken_document_is_refused_in_words(cluster: Kubectl, app: str, broken: Broken) -> None:
    with pytest.raises(KubectlFailed) as refused:
        put(cluster, app, broken.document, "--dry-run=server")
    assert broken.words in str(refused.value)


@pytest.mark.parametrize("document", TAKEN, ids=[f"{n}-{document['kind']}" for n, document in enumerate(TAKEN)])
def test_a_good_document_is_taken(cluster: Kubectl, app: str, document: Document) -> None:
    put(cluster, app, document, "--dry-run=server", "--validate=strict", "--warnings-as-errors")


def test_an_unknown_field_is_refused(cluster: Kubectl, app: str) -> None:
    with pytest.raises(KubectlFailed, match="unknown field"):
        put(cluster, app, registry(hots="quay.io"), "--validate=strict")


def test_defaults_are_filled_in(cluster: Kubectl, app: str) -> None:
    put(cluster, app, registry())
    spec = cluster.get("registries", "quay", app)["spec"]
    assert spec["repositories"] == ["**"]
    assert spec["check"] == {"interval": "5m"}
    assert spec["cache"] == {"tagTTL": "30s", "staleIfError": "24h", "blobs": True, "prefetch": False}
    put(cluster, app, license_())
    assert cluster.get("licenses", "acme", app)["spec"]["keys"] == {"overlap": "7d"}


def test_a_license_stays_with_its_customer(cluster: Kubectl, app: str) -> None:
    put(cluster, app, license_(customer={"name": "ACME Corp"}))
    put(cluster, app, license_(customer={"name": "ACME Corp", "id": "C-1"}))
    put(cluster, app, license_(customer={"name": "ACME Inc", "id": "C-1"}))
    for customer in ({"id": "C-2"}, {"name": "ACME Inc"}, None):
        with pytest.raises(KubectlFailed, match="a License stays with its customer"):
            put(cluster, app, license_(customer=customer))


def test_conditions_of_two_managers_are_merged(cluster: Kubectl, app: str) -> None:
    put(cluster, app, registry())
    for manager, type_ in (("operator", "Ready"), ("somebody-else", "Audited")):
        apply_condition(cluster, app, manager, type_)
    found = cluster.get("registries", "quay", app)["status"]["conditions"]
    assert {condition["type"] for condition in found} == {"Ready", "Audited"}


def apply_condition(cluster: Kubectl, app: str, manager: str, type_: str) -> None:
    condition = {
        "type": type_,
        "status": "True",
        "reason": "Seen",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    document = {"apiVersion": "pullgate.dev/v1alpha1", "kind": "Registry", "metadata": {"name": "quay"}}
    put(
        cluster,
        app,
        {**document, "status": {"conditions": [condition]}},
        "--server-side",
        "--subresource=status",
        f"--field-manager={manager}",
    )


def test_a_get_of_the_category_reads_like_an_answer(cluster: Kubectl, app: str) -> None:
    for document in (registry(), license_(customer={"name": "ACME Corp"}), image_test()):
        put(cluster, app, document)
    table = cluster.kubectl("get", "pullgate", "-n", app)
    headers = [line.split() for line in table.splitlines() if line.startswith("NAME")]
    assert ["NAME", "READY", "REASON", "HOST", "AGE"] in headers
    assert ["NAME", "VALID", "REASON", "EXPIRES", "CUSTOMER", "PULLS", "AGE"] in headers
    assert ["NAME", "PASSED", "SUMMARY", "LAST", "RUN", "AGE"] in headers
    assert "ACME Corp" in table


@pytest.mark.parametrize("short", ["preg", "lic", "imgt"])
def test_short_names_are_known(cluster: Kubectl, app: str, short: str) -> None:
    cluster.kubectl("get", short, "-n", app)


def test_explain_explains(cluster: Kubectl) -> None:
    assert "exactly one of secretRef" in cluster.kubectl("explain", "registry.spec.credentials")
    assert "Left out: never" in cluster.kubectl("explain", "license.spec.expiresAt")


def put(cluster: Kubectl, app: str, document: Document, *options: str) -> None:
    document = copy.deepcopy(document)
    metadata: dict[str, Any] = document["metadata"]
    metadata["namespace"] = app
    cluster.kubectl("apply", "-f", "-", *options, input=json.dumps(document))
