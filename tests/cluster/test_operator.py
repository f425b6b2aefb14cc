"""Operator and proxies as processes, with exactly the rights of deploy/: what is applied can be pulled, and no more."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import gate
from tests.support.cli import pullgate
from tests.support.cluster.control_plane import ControlPlane
from tests.support.cluster.kubectl import Kubectl, KubectlFailed
from tests.support.cluster.pullgate import (
    SYSTEM,
    Document,
    World,
    apply_vendor,
    fetch,
    key_of,
    license_,
    secret,
    wait_for,
    world_on,
)
from tests.support.cluster.wait import until
from tests.support.images import image

OUTAGE_SECONDS = float(os.environ.get("PULLGATE_OUTAGE_SECONDS", "12"))
"""How long the API server is away."""


@pytest.fixture(scope="module")
def world(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_on(cluster, tmp_path_factory.mktemp("operator"), replicas=2) as running:
        yield running


@pytest.fixture
def vendor(world: World, app: str) -> str:
    """A namespace with a Registry, its Secret and the License acme, all Ready."""
    apply_vendor(world, app)
    return app


def pull(world: World, app: str, key: str, replica: int = 0) -> tuple[int, str]:
    url = f"http://127.0.0.1:{world.proxies[replica]}/v2/proxy/{app}/upstream/my-org/api/manifests/1"
    return fetch(url, key)


def ready_message(world: World, app: str) -> str:
    conditions = world.cluster.get("registry", "upstream", app)["status"]["conditions"]
    return str(next(c["message"] for c in conditions if c["type"] == "Ready"))


@pytest.fixture(scope="module", autouse=True)
def seeded(world: World) -> None:
    asyncio.run(world.upstream.push("my-org/api", "1", image("api")))


def test_what_is_applied_can_be_pulled_from_every_replica(world: World, vendor: str) -> None:
    key = key_of(world, vendor)
    for replica in range(2):
        until(lambda replica=replica: pull(world, vendor, key, replica)[0] == 200)  # type: ignore[misc]


def test_a_suspended_license_is_refused_by_every_replica_and_restored_with_its_key(world: World, vendor: str) -> None:
    key = key_of(world, vendor)
    until(lambda: pull(world, vendor, key)[0] == 200)
    world.cluster.apply(license_(vendor, suspended={"reason": "invoice 77 unpaid"}))
    for replica in range(2):
        answer = until(lambda replica=replica: (a := pull(world, vendor, key, replica))[0] != 200 and a)  # type: ignore[misc]
        assert "suspended" in answer[1]
    world.cluster.apply(license_(vendor))
    until(lambda: pull(world, vendor, key)[0] == 200)


def test_what_was_pulled_is_in_the_status_of_the_license(world: World, vendor: str) -> None:
    key = key_of(world, vendor)
    until(lambda: pull(world, vendor, key)[0] == 200)
    status = until(lambda: (s := world.cluster.get("license", "acme", vendor)["status"]).get("usage") and s)
    assert status["usage"]["pulls24h"] >= 1
    assert status["usage"]["lastPullAt"]
    assert status["keys"][0]["lastUsedAt"]
    assert "PULLS" in world.cluster.kubectl("get", "licenses", "-n", vendor)


def test_a_document_that_the_api_server_takes_and_the_operator_refuses_says_so_itself(
    world: World, vendor: str
) -> None:
    mistaken = gate.license_("acme", {"repositories": ["**"], "tags": {"semver": "^1.2.3.4"}}, namespace=vendor)
    world.cluster.apply(mistaken)
    wait_for(world, vendor, "license/acme", "Stalled")
    status = world.cluster.get("license", "acme", vendor)["status"]
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec")
    assert "spec.entitlements[0].tags.semver" in ready["message"]
    world.cluster.apply(license_(vendor))
    wait_for(world, vendor, "license/acme", "Ready")
    status = world.cluster.get("license", "acme", vendor)["status"]
    assert "Stalled" not in {c["type"] for c in status["conditions"]}


def image_test(app: str, *images: str, **spec: Any) -> Document:
    head = {"apiVersion": gate.API_VERSION, "kind": "ImageTest", "metadata": {"name": "release", "namespace": app}}
    return {**head, "spec": {"images": list(images), **spec}}


def test_kubectl_waits_for_an_image_test_as_vendor_and_as_customer(world: World, vendor: str) -> None:
    image = f"{world.upstream.host}/my-org/api"
    world.cluster.apply(image_test(vendor, f"{image}:1"))
    wait_for(world, vendor, "imagetest/release", "Passed")
    world.cluster.apply(image_test(vendor, f"{image}:1", **{"as": {"licenseRef": {"name": "acme"}}}))
    wait_for(world, vendor, "imagetest/release", "Passed")
    world.cluster.apply(image_test(vendor, f"{image}:1", f"{image}:9.9.9"))
    wait_for(world, vendor, "imagetest/release", "Stalled")
    table = world.cluster.kubectl("get", "imagetests", "-n", vendor).splitlines()[1].split()
    assert table[:4] == ["release", "False", "1/2", "passed"]
    told = world.cluster.kubectl("get", "events", "-n", vendor, "--field-selector", "reason=ManifestUnknown")
    assert "ImageTest" in told or "imagetest/release" in told


def test_neither_an_image_test_nor_a_gate_as_a_customer_is_its_use(world: World, vendor: str) -> None:
    """The key of marks is the namespace's, and goes with its last License."""
    image = f"{world.upstream.host}/my-org/api:1"
    world.cluster.apply(image_test(vendor, image, **{"as": {"licenseRef": {"name": "acme"}}}))
    wait_for(world, vendor, "imagetest/release", "Passed")
    owners = until(lambda: world.cluster.get("secret", "pullgate-test-key", vendor)["metadata"]["ownerReferences"])
    assert [(owner["kind"], owner["name"]) for owner in owners] == [("License", "acme")]
    place = ("--kubeconfig", world.cluster.kubeconfig, "-n", vendor)
    ran = asyncio.run(pullgate("gate", image, "--as", "acme", "--proxy", f"http://{world.host}", *place))
    assert ran.code == 0, ran.output
    assert "counts as" not in ran.output
    in_cluster = asyncio.run(pullgate("gate", image, "--as", "acme", "--in-cluster", *place))
    assert in_cluster.code == 0, in_cluster.output
    status = until(
        lambda: (s := world.cluster.get("license", "acme", vendor)["status"]).get("usage", {}).get("tests24h") and s
    )
    assert (status["usage"]["pulls24h"], status["usage"]["bytes24h"], status["usage"]["denied24h"]) == (0, 0, 0)
    assert "lastPullAt" not in status["usage"]
    assert "lastUsedAt" not in status["keys"][0]
    world.cluster.kubectl("delete", "license", "acme", "-n", vendor)
    until(lambda: "pullgate-test-key" not in world.cluster.kubectl("get", "secrets", "-n", vendor, "-o", "name"))


def test_an_image_test_that_is_applied_before_its_registry_and_license_passes_and_never_fails(
    world: World, app: str
) -> None:
    image = f"{world.upstream.host}/my-org/api:1"
    world.cluster.apply(image_test(app, image, **{"as": {"licenseRef": {"name": "acme"}}}))
    wait_for(world, app, "imagetest/release", "Reconciling")
    world.cluster.apply(license_(app))
    registry_unknown = "jsonpath={.status.conditions[?(@.type=='Ready')].reason}=RegistryUnknown"
    world.cluster.kubectl("wait", "imagetest/release", "-n", app, f"--for={registry_unknown}", "--timeout=30s")
    apply_vendor(world, app)
    wait_for(world, app, "imagetest/release", "Passed")
    status = world.cluster.get("imagetest", "release", app)["status"]
    assert [run["passed"] for run in status["history"]] == [True]


def test_an_image_test_reads_the_rendered_manifests_of_a_config_map(world: World, vendor: str) -> None:
    image = f"{world.upstream.host}/my-org/api:1"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [{"image": image}]}}
    metadata = {"name": "rendered", "namespace": vendor}
    data = {"all.yaml": json.dumps(pod)}
    world.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    ref = {"configMapKeyRef": {"name": "rendered", "key": "all.yaml"}}
    world.cluster.apply(image_test(vendor, imagesFrom=ref))
    wait_for(world, vendor, "imagetest/release", "Passed")


def test_a_changed_secret_takes_effect(world: World, vendor: str) -> None:
    key = key_of(world, vendor)
    world.cluster.apply(secret(vendor, "CANARY-wrong"))
    wait_for(world, vendor, "registry/upstream", "Ready", "False")
    status = world.cluster.get("registry", "upstream", vendor)["status"]
    assert {c["type"]: c["reason"] for c in status["conditions"]}["Authenticated"] == "UpstreamUnauthorized"
    assert "UpstreamUnauthorized" in until(lambda: (a := pull(world, vendor, key))[0] != 200 and a)[1]
    world.cluster.apply(secret(vendor, world.upstream.password))
    wait_for(world, vendor, "registry/upstream", "Ready")
    until(lambda: pull(world, vendor, key)[0] == 200)


def test_the_administrators_annotation_of_the_namespace_holds_at_once_and_can_be_taken_back(
    world: World, vendor: str
) -> None:
    key = key_of(world, vendor)

    def annotate(value: str) -> None:
        world.cluster.kubectl("annotate", "--overwrite", "namespace", vendor, f"pullgate.dev/private-networks={value}")

    def until_asked(status: int, words: str) -> None:
        """A list of tags is never answered from a copy."""
        for port in world.proxies:
            url = f"http://127.0.0.1:{port}/v2/proxy/{vendor}/upstream/my-org/api/tags/list"
            until(lambda url=url: (a := fetch(url, key))[0] == status and words in a[1])  # type: ignore[misc]

    until_asked(200, "tags")
    for value in ("10.0.0.0/8", "no network"):
        annotate(value)
        until_asked(503, "its address is private")
        until(lambda: "pullgate.dev/private-networks" in ready_message(world, vendor))
        annotate("127.0.0.0/8")
        until_asked(200, "tags")


def test_a_deleted_pull_secret_is_rebuilt_and_a_lost_key_replaced(world: World, vendor: str) -> None:
    key = key_of(world, vendor)
    world.cluster.kubectl("delete", "secret", "acme-pull", "-n", vendor)
    until(lambda: key_of(world, vendor) == key)
    world.cluster.kubectl("delete", "secret", "acme-license", "acme-pull", "-n", vendor)
    until(lambda: key_of(world, vendor) != key)
    until(lambda: pull(world, vendor, key_of(world, vendor))[0] == 200)


def test_a_revoked_key_is_refused_by_every_replica_and_the_next_one_works(world: World, vendor: str) -> None:
    leaked = key_of(world, vendor)
    id_ = world.cluster.get("license", "acme", vendor)["status"]["keys"][0]["id"]
    world.cluster.apply(license_(vendor, keys={"revoked": [id_]}))
    for replica in range(2):
        answer = until(lambda replica=replica: (a := pull(world, vendor, leaked, replica))[0] != 200 and a)  # type: ignore[misc]
        assert "this license key was revoked" in answer[1]
    until(lambda: key_of(world, vendor) != leaked)
    for replica in range(2):
        until(lambda replica=replica: pull(world, vendor, key_of(world, vendor), replica)[0] == 200)  # type: ignore[misc]
    revoked = world.cluster.get("license", "acme", vendor)["status"]["keys"][1]
    assert revoked["id"] == id_
    assert revoked["revokedAt"]


def test_no_key_is_in_a_status_an_event_or_a_log(world: World, vendor: str, tmp_path: Path) -> None:
    key = key_of(world, vendor)
    told = world.cluster.kubectl("get", "pullgate,events", "-n", vendor, "-o", "json")
    assert "acme" in told
    assert key not in told
    assert world.upstream.password not in told


def test_deleted_resources_take_their_secrets_with_them(world: World, vendor: str) -> None:
    key = key_of(world, vendor)
    world.cluster.kubectl("delete", "license", "acme", "-n", vendor)
    world.cluster.kubectl("delete", "registry", "upstream", "-n", vendor)
    until(lambda: pull(world, vendor, key)[0] in {401, 403})
    until(lambda: world.cluster.kubectl("get", "secrets", "-n", vendor, "-o", "name").split() == ["secret/robot"])
    until(lambda: f"registry.{vendor}." not in world.cluster.kubectl("get", "secrets", "-n", SYSTEM, "-o", "name"))


def test_a_namespace_can_be_deleted_at_any_time(world: World, vendor: str) -> None:
    world.cluster.kubectl("delete", "namespace", vendor, "--timeout=60s")
    world.cluster.kubectl("create", "namespace", vendor)
    world.cluster.kubectl("annotate", "namespace", vendor, "pullgate.dev/private-networks=127.0.0.0/8")


def test_the_proxy_may_read_no_secret_of_an_app_and_write_nothing(world: World, vendor: str) -> None:
    proxy = Kubectl()
    proxy.kubeconfig = world.proxy_kubeconfig
    proxy.kubectl("get", "license", "acme", "-n", vendor)
    for refused in (
        ("get", "secret", "robot", "-n", vendor),
        ("get", "secrets", "-n", "pullgate-keys"),
        ("delete", "license", "acme", "-n", vendor),
        ("annotate", "license", "acme", "-n", vendor, "a=b"),
    ):
        with pytest.raises(KubectlFailed, match="forbidden"):
            proxy.kubectl(*refused)


def writes(world: World) -> dict[str, float]:
    """The operators' writes so far, without those of the Lease."""
    found: dict[str, float] = {}
    for port in world.operator_admin:
        for line in fetch(f"http://127.0.0.1:{port}/metrics")[1].splitlines():
            if line.startswith("pullgate_operator_api_writes_total{") and "leases" not in line:
                name, _, value = line.rpartition(" ")
                found[f"{port} {name}"] = float(value)
    return found


def test_nothing_is_written_when_nothing_changes(world: World, vendor: str) -> None:
    key = key_of(world, vendor)
    until(lambda: pull(world, vendor, key)[0] == 200)
    before = until(lambda: settled(world), 90.0)
    time.sleep(10)  # two renewals of the Lease
    assert writes(world) == before


def settled(world: World) -> dict[str, float] | None:
    before = writes(world)
    time.sleep(6)  # namespaces of earlier tests are still being deleted
    return before if writes(world) == before else None


def test_a_standby_takes_over(world: World, vendor: str) -> None:
    leader = next(n for n, port in enumerate(world.operator_admin) if leads(port))
    world.operators[leader].stop()
    until(lambda: leads(world.operator_admin[1 - leader]))
    world.cluster.apply(license_(vendor, suspended={}))
    wait_for(world, vendor, "license/acme", "Valid", "False")
    world.operators[leader].start()


def leads(port: int) -> bool:
    try:
        return bool(json.loads(fetch(f"http://127.0.0.1:{port}/readyz")[1])["leads"])
    except OSError:
        return False


class Pulls:
    """Pulls of one key from every replica, without a pause, until stopped."""

    def __init__(self, world: World, app: str, key: str) -> None:
        self.world, self.app, self.key = world, app, key
        self.done = 0
        self.failed: list[tuple[datetime, int, str]] = []
        """When, status and body."""
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(replica,)) for replica in range(2)]

    def __enter__(self) -> Pulls:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, replica: int) -> None:
        while not self._stop.is_set():
            answer = pull(self.world, self.app, self.key, replica)
            self.done += 1
            if answer[0] != 200:
                self.failed.append((datetime.now(UTC), *answer))
                time.sleep(0.1)


@pytest.mark.own_control_plane
@pytest.mark.timeout(OUTAGE_SECONDS + 120)
def test_no_pull_fails_while_the_api_server_is_away_and_a_license_still_ends_on_time(
    world: World, vendor: str, record_property: Callable[[str, object], None]
) -> None:
    plane = world.cluster
    assert isinstance(plane, ControlPlane)
    key = key_of(world, vendor)
    until(lambda: pull(world, vendor, key)[0] == 200)
    ends = (datetime.now(UTC) + timedelta(seconds=max(8.0, OUTAGE_SECONDS / 2))).replace(microsecond=0)
    short = license_(vendor, expiresAt=ends.strftime("%Y-%m-%dT%H:%M:%SZ"))
    short["metadata"]["name"] = "short"
    plane.apply(short)
    wait_for(world, vendor, "license/short", "Ready")
    data = plane.get("secret", "short-pull", vendor)["data"][".dockerconfigjson"]
    ending = str(next(iter(json.loads(base64.b64decode(data))["auths"].values()))["password"])
    until(lambda: pull(world, vendor, ending)[0] == 200)
    admin = f"http://127.0.0.1:{world.proxy_admin[0]}"
    with Pulls(world, vendor, key) as pulls, Pulls(world, vendor, ending) as until_its_end:
        away = time.monotonic()
        plane.stop_api_server()
        try:
            until(lambda: "cannot be reached" in fetch(f"{admin}/readyz")[1])
            assert fetch(f"{admin}/readyz")[0] == 200
            assert "pullgate_watch_connected 0.0" in fetch(f"{admin}/metrics")[1]
            time.sleep(max(0.0, OUTAGE_SECONDS - (time.monotonic() - away)))
            until(lambda: until_its_end.failed)
        finally:
            plane.start_api_server()
        until(lambda: "pullgate_watch_connected 1.0" in fetch(f"{admin}/metrics")[1])
        until(lambda: one_leads(world))
    when, _, words = until_its_end.failed[0]
    assert "expired" in words
    assert ends <= when < ends + timedelta(seconds=3)
    record_property("pulls", pulls.done)
    print(f"{pulls.done} pulls in {time.monotonic() - away:.0f} s of outage and return, {len(pulls.failed)} failed")
    assert not pulls.failed
    assert pulls.done > 20
    plane.apply(license_(vendor, suspended={}))
    until(lambda: pull(world, vendor, key)[0] != 200)
    wait_for(world, vendor, "license/acme", "Valid", "False")


def one_leads(world: World) -> bool:
    """True if an operator leads. An operator that lost its Lease ends; start it again, as a Deployment does."""
    for program in world.operators:
        if not program.running:
            program.start()
    return any(leads(port) for port in world.operator_admin)
