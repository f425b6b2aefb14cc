"""Two hostile apps on one cluster do all they can at once; a third app is served as if they were not there.

They write Registries, Licenses and ImageTests with the rights of `edit` in their namespaces and no others, run their
own upstreams, and use their own licenses (tests/support/hostile). All of it is played once, for all tests of this
module. Their names that never resolve are left to tests/component/upstream/test_names.py: a process asks the system's
resolver, which a test cannot replace. The latency is measured by benchmarks/hostile.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support import gate
from tests.support.background import in_background
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.pullgate import SYSTEM, Document, fetch, secret, wait_for
from tests.support.cluster.wait import until
from tests.support.hostile.app import ACCOUNT, CLAIMER, CLOUDS, OWN, PRIVATE_HOSTS, REGISTRIES, RESERVED, TESTS
from tests.support.hostile.good import GoodClient
from tests.support.hostile.process import ALL, Seen
from tests.support.hostile.stage import DOMAIN, IMAGES, MEMORY, REPOSITORY, Stage, key_of_license, stage_on

SECONDS = 24.0
"""The attack's length at least: 6 s until all has begun, then shares are full."""
PULLS = 3 * IMAGES
"""At least: each image by each of its names."""
OPERATOR_MEMORY = 1024
"""MiB, as deploy/ gives it."""


@dataclass(slots=True)
class Played:
    """The attack, when it is over."""

    stage: Stage
    client: GoodClient
    seen: list[Seen]
    late: dict[str, str] = field(default_factory=dict)
    """A change of the good app that did not take effect in time -> the effect that was awaited."""
    metrics: str = ""
    """The proxy's metrics during the attack."""

    def answers(self, attack: str) -> set[str]:
        """All answers to an attack."""
        return {
            answer for seen in self.seen for name, found in seen.answers.items() if name == attack for answer in found
        }

    def resource(self, number: int, kind: str, name: str) -> Document:
        """One of a hostile app's."""
        return self.stage.world.cluster.get(kind, name, self.stage.hostile[number].namespace)


@pytest.fixture(scope="module")
def played(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """The whole attack while the good app pulls, gets a new License, and has a Secret and a Registry changed."""
    with stage_on(cluster, tmp_path_factory.mktemp("hostile")) as stage:
        late: dict[str, str] = {}
        with stage.attack(ALL) as seen:
            end = time.monotonic() + SECONDS
            time.sleep(1.0)  # the same digests are asked for by then: these pulls are cold
            with in_background(stage.client(list(stage.images))) as client:
                for what, change in CHANGES.items():
                    try:
                        change(stage)
                    except AssertionError as error:
                        late[what] = str(error)
                time.sleep(max(0.0, end - time.monotonic()))
                until(lambda: len(client.pulls) >= PULLS or client.failures)
                metrics = fetch(f"http://127.0.0.1:{stage.world.proxy_admin[0]}/metrics")[1]
        yield Played(stage, client, seen, late, metrics)


def give_a_license(stage: Stage) -> None:
    """A new License can pull."""
    stage.world.cluster.apply(gate.license_("globex", namespace=stage.good))
    key = until(lambda: key_of_license(stage.world.cluster, stage.good, "globex"))
    url = f"http://127.0.0.1:{stage.world.proxies[0]}/v2/proxy/{stage.good}/upstream/{REPOSITORY}/manifests/1"
    until(lambda: fetch(url, key)[0] == 200)


def change_a_secret(stage: Stage) -> None:
    """A wrong password is found, and the right one again."""
    world = stage.world
    host, own = world.upstream.host, ["second/**"]
    document = gate.registry("second", host, secret="second", namespace=stage.good, repositories=own)
    for password, status in (("CANARY-wrong", "False"), (world.upstream.password, "True")):
        credentials = secret(stage.good, password)
        credentials["metadata"]["name"] = "second"
        world.cluster.apply(credentials, document)
        until(lambda status=status: authenticated(stage) == status)  # type: ignore[misc]


def authenticated(stage: Stage) -> str:
    rows = stage.world.cluster.get("registry", "second", stage.good)["status"]["conditions"]
    return str(next(row["status"] for row in rows if row["type"] == "Authenticated"))


def change_a_registry(stage: Stage) -> None:
    """A Registry that is suspended says so."""
    stage.world.cluster.kubectl(
        "patch", "registry", "second", "-n", stage.good, "--type=merge", "-p", '{"spec":{"suspend":true}}'
    )
    wait_for(stage.world, stage.good, "registry/second", "Ready", "False")


CHANGES: dict[str, Callable[[Stage], None]] = {
    "license": give_a_license,
    "secret": change_a_secret,
    "registry": change_a_registry,
}


def test_every_pull_of_the_good_app_is_whole_by_each_of_its_names(played: Played) -> None:
    assert played.client.failures == []
    ways = {pull.way for pull in played.client.pulls}
    assert ways == set(played.stage.ways)
    assert len(played.client.pulls) >= PULLS


def test_a_new_license_a_changed_secret_and_a_changed_registry_take_effect_in_time(played: Played) -> None:
    assert played.late == {}


def test_the_attack_was_as_large_as_the_proxy_lets_it_be(played: Played) -> None:
    # Beyond the shares requests wait in line, and are refused after 20 s.
    waiting = metric(played.metrics, "pullgate_load", 'of="waiting"')
    assert waiting > 0 or "429 ShareReached" in played.answers("slow GETs")
    assert "429 TooManyAttempts" in played.answers("wrong keys")
    assert "200" in played.answers("tag lists")
    assert "200" in played.answers("children")
    # Each takes 4 MiB of the shared memory: the answer depends on what drips meanwhile.
    assert {"200", "429 ShareReached"} & set(played.answers("large manifests"))
    assert sum(seen.asked["stuck"] for seen in played.seen) >= 10
    for number in range(2):
        assert played.resource(number, "registry", f"stuck-{REGISTRIES - 1}")
        assert played.resource(number, "imagetest", f"drip-{TESTS - 1}")
    limit = metric(played.metrics, "pullgate_load_limit", 'of="connections"')
    assert metric(played.metrics, "pullgate_load", 'of="connections"') > limit * 0.75


def metric(page: str, name: str, label: str) -> float:
    found = re.search(rf"^{name}{{{re.escape(label)}}} (\S+)$", page, re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_the_domain_is_still_the_good_apps(played: Played) -> None:
    world, good = played.stage.world, played.stage.good
    held = world.cluster.get("registry", "upstream", good)["status"]["domains"]
    assert [row["name"] for row in held] == [DOMAIN]
    assert f"domain.{DOMAIN}" in world.cluster.kubectl("get", "secrets", "-n", SYSTEM)
    created = world.cluster.get("registry", "upstream", good)["metadata"]["creationTimestamp"]
    for number in range(2):
        claimer = until_ready_says(played, number, CLAIMER, "DomainConflict")
        assert claimer["metadata"]["creationTimestamp"] < created
        assert claimer["spec"]["domains"] == [DOMAIN]
        assert not claimer["status"].get("domains")


def test_nobody_has_the_proxys_own_host_or_an_in_cluster_name(played: Played) -> None:
    for number in range(2):
        reserved = until_ready_says(played, number, RESERVED, "DomainNotAllowed")
        assert len(reserved["spec"]["domains"]) == 4
        assert not reserved["status"].get("domains")


def until_ready_says(played: Played, number: int, name: str, reason: str) -> Document:
    """A hostile app's Registry, once its condition Ready has the reason."""

    def found() -> Document | None:
        document = played.resource(number, "registry", name)
        reasons = {row["type"]: row["reason"] for row in document["status"]["conditions"]}
        return document if reasons["Ready"] == reason else None

    document: Document = until(found)
    return document


def test_no_hostile_license_reads_the_good_apps_images(played: Played) -> None:
    assert played.answers("another's image") == {"403 NotEntitled"}


def test_no_hostile_app_has_a_byte_of_the_good_apps_blobs(played: Played) -> None:
    assert [seen.foreign for seen in played.seen] == [0, 0]
    assert "200" in played.answers("stolen blobs: HEAD"), "their upstreams say that they have them"
    assert "404 BlobUnknown" in played.answers("stolen blobs: GET")
    assert "200, TimeoutError" in played.answers("stolen blobs: GET"), "and drip"


def test_no_request_with_a_token_comes_to_a_hostile_server(played: Played) -> None:
    assert [seen.credentials for seen in played.seen] == [[], []]
    assert [seen.asked["trap"] for seen in played.seen] == [0, 0]
    for number in range(2):
        for type_ in CLOUDS:
            for whose in (OWN, ACCOUNT):
                until_ready_says(played, number, f"{type_.lower()}-{whose}", "CredentialsMissing")


def test_nobody_has_an_answer_from_a_network_that_the_administrator_did_not_allow(played: Played) -> None:
    refused = {"502 RedirectRefused", "502 UpstreamProtocol", "429 ShareReached"}
    assert "502 RedirectRefused" in played.answers("private redirects")
    assert played.answers("private redirects") <= refused
    assert "503 UpstreamUnreachable" in played.answers("private hosts")
    not_known_yet = "403 NotEntitled"
    assert played.answers("private hosts") <= {"503 UpstreamUnreachable", "429 ShareReached", not_known_yet}
    for number in range(2):
        for name in PRIVATE_HOSTS:
            until_ready_says(played, number, name, "UpstreamUnreachable")


def test_nothing_that_is_no_manifest_is_answered_as_one(played: Played) -> None:
    for attack in ("odd answers: html", "odd answers: empty", "odd answers: interim", "JSON bombs"):
        assert "502 UpstreamProtocol" in played.answers(attack)
        assert played.answers(attack) <= {"502 UpstreamProtocol", "429 ShareReached"}


def test_operator_and_proxy_live_within_their_memory(played: Played) -> None:
    world = played.stage.world
    for program, most in ((world.operators[0], OPERATOR_MEMORY), (world.proxy_programs[0], MEMORY)):
        assert program.running
        status = Path(f"/proc/{program.pid}/status").read_text()
        peak = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        assert peak is not None
        assert int(peak[1]) < most * 1024 * 0.9
