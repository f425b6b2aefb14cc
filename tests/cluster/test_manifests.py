"""A real API server takes deploy/ and every example as they are, warns of nothing, and grants what the page says."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.wait import until
from tests.support.kustomize import COMPONENTS, DEPLOY, build, of_kind, write_overlay

EXAMPLES = DEPLOY.parent / "examples"
NOT_APPLIED = {"01-standalone", "ci", "registries"}
"""A folder that is served without a cluster; pieces for the reader's own pipelines and registries."""
ON_A_CLUSTER = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name not in NOT_APPLIED)
FOREIGN_CRDS = Path(__file__).parent / "foreign_crds"
STRICT = ("--validate=strict", "--warnings-as-errors")
SYSTEM = "pullgate-system"


@pytest.fixture(scope="module")
def installed(cluster: Kubectl) -> Iterator[Kubectl]:
    """A cluster with Pullgate and the CRDs of others that components and examples write objects for."""
    cluster.kubectl("apply", "--server-side", "-f", FOREIGN_CRDS)
    cluster.kubectl("apply", "-k", DEPLOY, *STRICT)
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    yield cluster
    cluster.kubectl("delete", "deployment", "-n", SYSTEM, "pullgate-operator", "pullgate-proxy")


def test_what_was_applied_is_what_stands_there(installed: Kubectl) -> None:
    assert installed.kubectl("diff", "-k", DEPLOY) == ""


@pytest.mark.parametrize("components", [[name] for name in COMPONENTS] + [COMPONENTS], ids="+".join)
def test_components_are_taken(installed: Kubectl, tmp_path: Path, components: list[str]) -> None:
    overlay = write_overlay(tmp_path, DEPLOY, components)
    installed.kubectl("apply", "-k", overlay, "--dry-run=server", *STRICT)


@pytest.mark.parametrize("name", ON_A_CLUSTER)
def test_an_example_applies_as_it_is(installed: Kubectl, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    shutil.copytree(EXAMPLES / name, folder)
    app = f"my-app-{secrets.token_hex(3)}"  # a namespace of this test's own, which is not there yet
    for path in folder.rglob("*.yaml"):
        path.write_text(path.read_text().replace("my-app", app))
    command = re.search(rf"kubectl apply (-[fk]) examples/{name}\s", (EXAMPLES / name / "README.md").read_text())
    assert command is not None
    installed.kubectl("apply", command[1], folder, *STRICT)
    installed.kubectl("delete", command[1], folder, "--timeout=60s")


def test_the_licenses_of_the_flux_example_apply_as_they_are(installed: Kubectl) -> None:
    installed.kubectl("apply", "-f", EXAMPLES / "02-registry-and-license" / "app.yaml")
    installed.kubectl("apply", "-k", EXAMPLES / "06-flux-gitops" / "licenses", "--dry-run=server", *STRICT)


def test_the_gates_of_argo_cd_and_flux_and_every_registry_are_taken(installed: Kubectl) -> None:
    installed.kubectl("apply", "-f", EXAMPLES / "02-registry-and-license" / "app.yaml")
    for name in ("ci/argo-cd/hook.yaml", "ci/flux", "registries"):
        installed.kubectl("create", "-f", EXAMPLES / name, "--dry-run=server", *STRICT)


# --- pod security ------------------------------------------------------------------------------------------------


def pod(spec: dict[str, Any]) -> str:
    metadata = {"name": "tried", "namespace": SYSTEM}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


@pytest.mark.parametrize("name", ["pullgate-operator", "pullgate-proxy"])
def test_the_namespace_takes_our_pods(installed: Kubectl, tmp_path: Path, name: str) -> None:
    documents = build(write_overlay(tmp_path, DEPLOY / "manifests", COMPONENTS))
    spec = next(d for d in of_kind(documents, "Deployment") if d["metadata"]["name"] == name)["spec"]["template"][
        "spec"
    ]
    for constraint in spec["topologySpreadConstraints"]:
        del constraint["matchLabelKeys"]  # names a label that the Deployment adds
    installed.kubectl("create", "-f", "-", "--dry-run=server", *STRICT, input=pod(spec))


def test_the_namespace_refuses_a_pod_that_is_not_restricted(installed: Kubectl) -> None:
    spec = {
        "containers": [{"name": "any", "image": "registry.example.com/any"}],
        "serviceAccountName": "pullgate-proxy",
    }
    with pytest.raises(Exception, match="violates PodSecurity"):
        installed.kubectl("create", "-f", "-", "--dry-run=server", input=pod(spec))


# --- rights ------------------------------------------------------------------------------------------------------

READ, WRITE = ("get", "list", "watch"), ("create", "update", "patch", "delete")
OURS = ("registries", "licenses", "imagetests")


def may(cluster: Kubectl, account: str, verb: str, resource: str, namespace: str, name: str = "") -> bool:
    """True if the ServiceAccount has this permission. `resource` is plural[/subresource][.group]."""
    full, _, group = resource.partition(".")
    plural, _, sub = full.partition("/")
    what = {"verb": verb, "resource": plural, "subresource": sub, "group": group, "namespace": namespace, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": f"system:serviceaccount:{SYSTEM}:{account}", "resourceAttributes": what},
    }
    answer = cluster.kubectl("create", "-f", "-", "-o", "jsonpath={.status.allowed}", input=json.dumps(review))
    return answer.strip() == "true"


def test_the_proxy_reads_what_it_needs_and_nothing_else(installed: Kubectl) -> None:
    for verb in READ:
        assert may(installed, "pullgate-proxy", verb, "registries.pullgate.dev", "any-app")
        assert may(installed, "pullgate-proxy", verb, "licenses.pullgate.dev", "any-app")
        assert may(installed, "pullgate-proxy", verb, "secrets", SYSTEM)
        assert not may(installed, "pullgate-proxy", verb, "secrets", "any-app")
        assert not may(installed, "pullgate-proxy", verb, "secrets", "")
    for verb in WRITE:
        for resource in ("secrets", "configmaps", "leases.coordination.k8s.io", *(f"{r}.pullgate.dev" for r in OURS)):
            assert not may(installed, "pullgate-proxy", verb, resource, SYSTEM)
        assert not may(installed, "pullgate-proxy", verb, "licenses/status.pullgate.dev", "any-app")


def test_the_operator_writes_status_secrets_and_events_only(installed: Kubectl) -> None:
    for plural in OURS:
        assert may(installed, "pullgate-operator", "list", f"{plural}.pullgate.dev", "")
        assert may(installed, "pullgate-operator", "patch", f"{plural}/status.pullgate.dev", "any-app")
        for verb in WRITE:
            assert not may(installed, "pullgate-operator", verb, f"{plural}.pullgate.dev", "any-app")
    for verb in (*READ, *WRITE):
        assert may(installed, "pullgate-operator", verb, "secrets", "any-app")
        assert not may(installed, "pullgate-operator", verb, "pods", SYSTEM)
    assert may(installed, "pullgate-operator", "create", "events", "any-app")
    assert may(installed, "pullgate-operator", "get", "configmaps", "any-app")
    for verb in ("list", "watch", *WRITE):
        assert not may(installed, "pullgate-operator", verb, "configmaps", "any-app")
    assert may(installed, "pullgate-operator", "patch", "events.events.k8s.io", "any-app")


def test_the_operator_holds_its_lease_and_no_other(installed: Kubectl) -> None:
    lease = "leases.coordination.k8s.io"
    assert may(installed, "pullgate-operator", "create", lease, SYSTEM)
    for verb in ("get", "update", "patch"):
        assert may(installed, "pullgate-operator", verb, lease, SYSTEM, "pullgate-operator")
        assert not may(installed, "pullgate-operator", verb, lease, SYSTEM, "another")
        assert not may(installed, "pullgate-operator", verb, lease, "kube-system", "pullgate-operator")


@pytest.mark.parametrize(("role", "verb"), [("view", "list"), ("edit", "create"), ("admin", "delete")])
def test_kubernetes_own_roles_hold_our_resources(installed: Kubectl, role: str, verb: str) -> None:
    def aggregated() -> bool:
        rules = json.loads(installed.kubectl("get", "clusterrole", role, "-o", "json"))["rules"] or []
        return any("pullgate.dev" in r.get("apiGroups", ()) and verb in r["verbs"] for r in rules)

    until(aggregated, 30.0)
