"""Custom domains of two namespaces on a real API server: the first claim holds, and an administrator restricts them."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from pullgate.policy.tenancy import DOMAINS, PRIVATE_NETWORKS
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.pullgate import (
    ACCEPT,
    SYSTEM,
    World,
    apply_vendor,
    key_of,
    pull_auths,
    registry,
    world_on,
)
from tests.support.cluster.wait import until
from tests.support.images import image


@pytest.fixture(scope="module")
def world(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_on(cluster, tmp_path_factory.mktemp("domains"), replicas=1) as running:
        asyncio.run(running.upstream.push("my-org/api", "1", image("api")))
        yield running


@pytest.fixture
def older(world: World, cluster: Kubectl) -> Iterator[str]:
    """A namespace with a vendor whose Registry is older than that of `app`."""
    name = f"older-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    begin(world, name)
    time.sleep(1.1)  # creationTimestamp has whole seconds
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def vendor(world: World, older: str, app: str) -> str:
    """Another namespace with a vendor."""
    begin(world, app)
    return app


@pytest.fixture
def domain() -> str:
    return f"images-{secrets.token_hex(4)}.example"


def begin(world: World, app: str) -> None:
    annotate(world, app, f"{PRIVATE_NETWORKS}=127.0.0.0/8")
    apply_vendor(world, app)


def annotate(world: World, app: str, annotation: str) -> None:
    world.cluster.kubectl("annotate", "namespace", app, annotation, "--overwrite")


def claim(world: World, app: str, *domains: str) -> None:
    document = registry(app, world.upstream.host)
    world.cluster.apply({**document, "spec": {**document["spec"], "domains": list(domains)}})


def pull(world: World, app: str, domain: str) -> int:
    """The status of a pull at the domain."""
    url = f"http://127.0.0.1:{world.proxies[0]}/v2/my-org/api/manifests/1"
    login = base64.b64encode(f"x:{key_of(world, app)}".encode()).decode()
    headers = {"Accept": ACCEPT, "Host": domain, "Authorization": f"Basic {login}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def ready(world: World, app: str) -> tuple[str, str]:
    """Reason and message of the condition Ready."""
    rows = world.cluster.get("registry", "upstream", app)["status"]["conditions"]
    row = next(row for row in rows if row["type"] == "Ready")
    return row["reason"], row["message"]


def held(world: World, app: str) -> list[str]:
    status = world.cluster.get("registry", "upstream", app)["status"]
    return [row["name"] for row in status.get("domains", ())]


def test_the_first_claim_holds_live_after_a_restart_of_the_operator_and_against_a_written_status(
    world: World, older: str, vendor: str, domain: str
) -> None:
    claim(world, vendor, domain)
    until(lambda: pull(world, vendor, domain) == 200)
    record = world.cluster.get("secret", f"domain.{domain}", SYSTEM)
    claim(world, older, domain)
    _reason, message = until(lambda: (found := ready(world, older))[0] == "DomainConflict" and found)
    told = ("get", "events", "-n", older, "--field-selector", "reason=DomainConflict")
    events = until(lambda: domain in (text := world.cluster.kubectl(*told)) and text)
    assert vendor not in message + events
    world.operators[0].stop()
    forged = f'{{"status":{{"domains":[{{"name":"{domain}","since":"2020-01-01T00:00:00Z"}}]}}}}'
    patch = ("patch", "registry", "upstream", "-n", older, "--subresource=status", "--type=merge", "-p", forged)
    world.cluster.kubectl(*patch)
    assert (pull(world, vendor, domain), pull(world, older, domain)) == (200, 403)
    world.operators[0].start()
    until(lambda: held(world, older) == [])
    assert (pull(world, vendor, domain), pull(world, older, domain)) == (200, 403)
    assert world.cluster.get("secret", f"domain.{domain}", SYSTEM)["data"] == record["data"]
    until(lambda: domain in pull_auths(world, vendor))
    assert domain not in pull_auths(world, older)


def test_a_holder_that_is_deleted_gives_its_domain_to_the_next(
    world: World, older: str, vendor: str, domain: str
) -> None:
    claim(world, vendor, domain)
    until(lambda: held(world, vendor) == [domain])
    claim(world, older, domain)
    until(lambda: ready(world, older)[0] == "DomainConflict")
    world.cluster.kubectl("delete", "registry", "upstream", "-n", vendor)
    until(lambda: pull(world, older, domain) == 200)
    until(lambda: domain in pull_auths(world, older) and domain not in pull_auths(world, vendor))
    world.cluster.kubectl("delete", "registry", "upstream", "-n", older)
    until(lambda: f"domain.{domain}" not in world.cluster.kubectl("get", "secrets", "-n", SYSTEM))


def test_the_annotation_of_a_namespace_takes_effect_at_once(world: World, older: str, vendor: str, domain: str) -> None:
    claim(world, vendor, domain)
    until(lambda: pull(world, vendor, domain) == 200)
    annotate(world, vendor, f"{DOMAINS}=*.elsewhere.example")
    until(lambda: pull(world, vendor, domain) == 403, seconds=5)
    _reason, message = until(lambda: (found := ready(world, vendor))[0] == "DomainNotAllowed" and found)
    assert DOMAINS in message
    annotate(world, vendor, f"{DOMAINS}={domain}")
    until(lambda: pull(world, vendor, domain) == 200, seconds=5)
    until(lambda: ready(world, vendor)[0] == "Ready")
