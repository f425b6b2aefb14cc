"""The image of this checkout on a cluster, installed by docs/install.md: it works there as shipped.

etcd, API server, controller manager, scheduler, kubelet, containerd, kube-proxy and CoreDNS are real. The node has a
network of its own (tests/support/cluster/network.py).

Not real: kubelet, CoreDNS and the rest of the node are processes, not pods; the test gives the load balancer's address
and the certificate, which a cloud and cert-manager would; the node has the image already, and the base of the image is
of Debian's packages where the official one is out of reach; no metrics-server is there, so the
HorizontalPodAutoscaler holds its least. Nothing enforces NetworkPolicies.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from tests.image.conftest import Image
from tests.image.installed import (
    DEPLOYMENTS,
    Document,
    Installed,
    installed_pullgate,
    root_is_read_only,
    uid_of,
    wait_until_gone,
)
from tests.support.cluster.pullgate import SYSTEM
from tests.support.cluster.wait import until
from tests.support.images import large_image, runnable
from tests.support.tools import tool

pytestmark = [pytest.mark.timeout(1800), pytest.mark.xdist_group("cluster"), pytest.mark.own_control_plane]

APP, LICENSE = "my-app", "acme"
SMALL, LARGE = "my-org/pause", "my-org/large"
LARGE_BYTES = 40_000_000
SLOW_RATE = 2_000_000
"""Bytes a second: 20 s for all of it, so that it runs while a replica ends, and well within its drain."""
PULLERS = 3
MOST_PULLS = 2000
WATCH_SECONDS = 30
"""The audit, which lists, comes every 120 s."""
RANDOM_USER = 1000680000
"""OpenShift runs a pod as a user of the namespace's range, which no /etc/passwd knows."""


@pytest.fixture(scope="module")
def installed(image: Image) -> Iterator[Installed]:
    """With a Registry, its upstream's two images, and the License `acme`, Valid."""
    with installed_pullgate(image) as found:
        asyncio.run(found.upstream.push(SMALL, "1", runnable("pulled", tool("pause").read_bytes())))
        asyncio.run(found.upstream.push(LARGE, "1", large_image(LARGE_BYTES)))
        yield found


@pytest.fixture(scope="module")
def key(installed: Installed) -> str:
    """The key of the License `acme` in `my-app`."""
    installed.apply_app(APP)
    installed.apply_license(APP, LICENSE)
    installed.wait_for(APP, f"license/{LICENSE}", "Valid", WATCH_SECONDS)
    return installed.key_of(APP, LICENSE)


def pull_soon(installed: Installed, app: str, license_name: str) -> None:
    """The proxies learn of a License by their own watch: it may be a moment behind the condition."""
    key = installed.key_of(app, license_name)

    def pulled() -> bool:
        installed.pull(app, SMALL, key)
        return True

    until(pulled, WATCH_SECONDS)


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_pods_are_ready_without_a_restart_as_the_user_of_the_image_on_a_read_only_root(
    installed: Installed, deployment: str
) -> None:
    pods = until(lambda: installed.ready_pods(deployment, 2))  # the HorizontalPodAutoscaler adds the second proxy
    for pod in pods:
        (container,) = pod["status"]["containerStatuses"]
        assert container["restartCount"] == 0
        process = installed.process_of(pod)
        assert uid_of(process) == (65532, 65532)
        assert root_is_read_only(process)


def test_a_new_license_is_valid_and_pullable_by_the_watch_and_not_by_a_list(installed: Installed, key: str) -> None:
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    installed.apply_license(APP, "watched")
    installed.wait_for(APP, "license/watched", "Valid", WATCH_SECONDS)
    pull_soon(installed, APP, "watched")
    requests = [each for each in installed.whole.requests() if each.user.startswith(f"system:serviceaccount:{SYSTEM}:")]
    for name in DEPLOYMENTS:
        own = [each for each in requests if each.user.endswith(f":{name}") and each.resource == "licenses"]
        assert any(each.verb == "watch" and each.status == 200 for each in own), name
        assert not [each for each in own if each.verb == "list" and each.at >= since], name


@pytest.fixture(scope="module")
def customer(installed: Installed, key: str) -> Document:
    """A running pod of the private image."""
    installed.kubectl("wait", "serviceaccount/default", "-n", APP, "--for=create", "--timeout=30s")
    installed.whole.plane.apply(installed.pod(APP, LICENSE, SMALL))
    installed.wait_for(APP, f"pod/{LICENSE}", "Ready", 60)
    return installed.whole.plane.get("pod", LICENSE, APP)


def test_a_pod_runs_from_the_private_image_with_the_pull_secret_alone(customer: Document) -> None:
    (container,) = customer["status"]["containerStatuses"]
    assert container["ready"]


def test_the_proxys_disk_holds_what_was_pulled(installed: Installed, key: str) -> None:
    installed.pull(APP, LARGE, key)
    (layer,) = large_image(LARGE_BYTES).layers
    digest = layer.removeprefix("sha256:")

    def kept() -> bool:
        volumes = [
            installed.whole.node.volume(pod["metadata"]["uid"], "cache") for pod in installed.pods("pullgate-proxy")
        ]
        files = [volume / "blobs" / "sha256" / digest[:2] / digest for volume in volumes]
        return any(file.exists() and file.stat().st_size >= LARGE_BYTES for file in files)

    until(kept, 10)


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_a_rollout_restart_loses_no_pull(installed: Installed, key: str, deployment: str) -> None:
    before = until(lambda: installed.ready_pods(deployment, 2))

    def restart() -> None:
        installed.kubectl("rollout", "restart", f"deployment/{deployment}", "-n", SYSTEM)
        installed.wait_until_rolled_out()
        wait_until_gone(installed, before)

    pulls = pull_meanwhile(installed, key, restart)
    assert pulls > PULLERS
    installed.apply_license(APP, f"after-{deployment}")
    installed.wait_for(APP, f"license/after-{deployment}", "Valid", 30)
    pull_soon(installed, APP, f"after-{deployment}")


def pull_meanwhile(installed: Installed, key: str, happens: Callable[[], None]) -> int:
    """Pull while `happens` runs, in part slowly. Returns the number of pulls; raises the first failed pull's error."""
    over = threading.Event()

    def pull_again() -> int:
        for done in range(MOST_PULLS):
            if over.wait(0.05):
                return done
            installed.pull(APP, SMALL, key)
        return MOST_PULLS

    with ThreadPoolExecutor(2 * PULLERS) as pool:
        slow: list[Future[None]] = [pool.submit(installed.pull, APP, LARGE, key, SLOW_RATE) for _ in range(PULLERS)]
        quick = [pool.submit(pull_again) for _ in range(PULLERS)]
        time.sleep(1)
        try:
            happens()
        finally:
            over.set()
        for each in slow:
            each.result()
        return sum(each.result() for each in quick) + len(slow)


def test_on_openshift_both_run_as_a_user_without_a_name(installed: Installed, key: str) -> None:
    assigned = {"op": "add", "path": "/spec/template/spec/securityContext/runAsUser", "value": RANDOM_USER}
    group = {"op": "add", "path": "/spec/template/spec/securityContext/fsGroup", "value": RANDOM_USER}
    installed.change_overlay(component="openshift", patches=[assigned, group])
    for deployment in DEPLOYMENTS:
        for pod in installed.pods(deployment):
            assert uid_of(installed.process_of(pod)) == (RANDOM_USER, 0)
            assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    installed.apply_license(APP, "nameless")
    installed.wait_for(APP, "license/nameless", "Valid", WATCH_SECONDS)
    pull_soon(installed, APP, "nameless")


def test_the_operator_hears_of_pulls_from_the_proxies(installed: Installed, key: str) -> None:
    installed.pull(APP, SMALL, key)

    def counted() -> int:
        licenses = json.loads(installed.kubectl("get", "licenses", "-n", APP, "-o", "json"))["items"]
        return sum(license_["status"].get("usage", {}).get("pulls24h", 0) for license_ in licenses)

    assert until(counted, 90) > 0
