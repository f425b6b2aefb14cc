"""Custom domains of several apps: the first claim holds, some are nobody's, and a stranger learns of none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pullgate.policy.tenancy import DOMAINS
from pullgate.providers.domain_claim import claim_name, decode_claim
from pullgate.providers.handoff import secret_data
from pullgate.store.folder import FolderStore
from pullgate.store.port import Change, Key, Synced
from pullgate_operator.reconcile.loop import Reconciler
from pullgate_operator.reconcile.settings import ReconcileSettings
from tests.support.catalog import WORKER
from tests.support.cli import pullgate
from tests.support.folder import condition, eventually
from tests.support.gate import APP, Answer, Document, Gate, license_, registry, running, secret
from tests.support.upstreams import DockerRegistry

OLDER_APP = "a-older-app"
"""Its Registry is the older one, and first by name."""
DOMAIN = "images.myapp.test"
EXTERNAL = "images.example.com"
RECORD = Key("Secret", "pullgate-system", claim_name(DOMAIN))
OLDER, HOLDER = Key("Registry", OLDER_APP, "older"), Key("Registry", APP, "holder")
SECOND = 5.0
"""A loaded machine's."""
SETTINGS: dict[str, Any] = {"external_url": f"https://{EXTERNAL}"}


class Stage:
    """Two apps, each with a Registry and a License of everything."""

    def __init__(self, upstream: DockerRegistry) -> None:
        self._upstream = upstream

    def older(self, *domains: str) -> Document:
        """The Registry of the other app."""
        return registry("older", self._upstream.host, secret="robot-b", namespace=OLDER_APP, domains=list(domains))

    def holder(self, *domains: str) -> Document:
        """The Registry that claims the domain first."""
        return registry("holder", self._upstream.host, secret="robot-a", domains=list(domains))

    def documents(self) -> list[Document]:
        """The older Registry without a domain, then the other one with it."""
        user, password = self._upstream.username, self._upstream.password
        secrets = [secret("robot-b", user, password, OLDER_APP), secret("robot-a", user, password)]
        return [*secrets, self.older(), license_("theirs", namespace=OLDER_APP), self.holder(DOMAIN), license_("ours")]


class NewerStore(FolderStore):
    """Shows one Registry as an API server does that has the CRD of a newer version: of a type that is not known."""

    async def get(self, key: Key) -> Document | None:
        """See Store."""
        document = await super().get(key)
        return _newer(document) if document is not None and key == HOLDER else document

    async def list(self, kind: str, namespace: str | None = None) -> list[Document]:
        """See Store."""
        return [_newer(d) if Key.of(d) == HOLDER else d for d in await super().list(kind, namespace)]

    async def watch(self, kinds: frozenset[str]) -> AsyncIterator[Change | Synced]:
        """See Store."""
        async for change in super().watch(kinds):
            if isinstance(change, Change) and change.key == HOLDER and change.document is not None:
                yield Change(HOLDER, _newer(change.document))
            else:
                yield change


def _newer(document: Document) -> Document:
    return {**document, "spec": {**document["spec"], "type": "NotKnownYet"}}


@pytest.fixture
def stage(docker_registry_basic: DockerRegistry) -> Stage:
    return Stage(docker_registry_basic)


@contextlib.asynccontextmanager
async def begun(tmp_path: Path, stage: Stage) -> AsyncIterator[Gate]:
    """Both apps, once the domain is served."""
    async with running(tmp_path / "resources", *stage.documents(), **SETTINGS) as gate:
        await until_served(gate)
        yield gate


@pytest.fixture
async def gate(tmp_path: Path, stage: Stage) -> AsyncIterator[Gate]:
    async with begun(tmp_path, stage) as gate:
        yield gate


async def pull(gate: Gate, license_name: str, host: str = DOMAIN, query: str = "") -> Answer:
    namespace = APP if license_name == "ours" else OLDER_APP
    key = gate.key(license_name, namespace)
    return await gate.get(f"/v2/{WORKER}/manifests/1.0.0{query}", key, headers={"Host": host})


async def until_served(gate: Gate, license_name: str = "ours", host: str = DOMAIN) -> None:
    async def served() -> bool:
        return (await pull(gate, license_name, host)).status == 200

    await eventually(served)


async def ready(gate: Gate, key: Key, reason: str) -> str:
    """The message of Ready, once it has this reason."""

    async def ask() -> str:
        found = condition(await gate.store.get(key), "Ready")
        return str(found["message"]) if found.get("reason") == reason else ""

    return await eventually(ask)


async def domains(gate: Gate, key: Key) -> list[str]:
    """Those that the Registry holds by its status."""
    document = await gate.store.get(key)
    assert document is not None
    return [row["name"] for row in document["status"].get("domains", ())]


async def since(gate: Gate) -> str:
    document = await gate.store.get(RECORD)
    assert document is not None
    claim = decode_claim(document)
    assert claim.registry == (APP, "holder")
    return str(claim.since)


def hosts_of(gate: Gate, namespace: str, license_name: str) -> set[str]:
    """Those of the pull Secret."""
    path = gate.directory / ".pullgate" / "secrets" / namespace / f"{license_name}-pull.yaml"
    return set(json.loads(yaml.safe_load(path.read_text())["stringData"][".dockerconfigjson"])["auths"])


async def test_an_older_registry_that_adds_a_domain_later_does_not_get_it_live_or_after_a_restart(
    tmp_path: Path, stage: Stage
) -> None:
    async with begun(tmp_path, stage) as gate:
        first = await since(gate)
        await gate.apply(stage.older(DOMAIN))
        await ready(gate, OLDER, "DomainConflict")
        assert (await pull(gate, "ours")).status == 200
        replica = await gate.start_proxy()
        await gate.until(lambda: replica.snapshot.registry_for_domain(DOMAIN) is not None)
        key, host = gate.key("theirs", OLDER_APP), {"Host": DOMAIN}
        for proxy in (gate.proxy, replica):
            answer = await gate.get(f"/v2/{WORKER}/manifests/1.0.0", key, headers=host, proxy=proxy)
            assert answer.fault == "NotEntitled"
    async with Gate(gate.directory, **SETTINGS) as again:
        await until_served(again)
        assert (await pull(again, "theirs")).fault == "NotEntitled"
        await ready(again, OLDER, "DomainConflict")
        assert await since(again) == first
        assert (await domains(again, HOLDER), await domains(again, OLDER)) == ([DOMAIN], [])
        assert hosts_of(again, APP, "ours") == {EXTERNAL, DOMAIN}
        assert hosts_of(again, OLDER_APP, "theirs") == {EXTERNAL}


async def test_a_registry_that_cannot_be_read_at_the_start_of_the_operator_keeps_what_it_held(
    tmp_path: Path, stage: Stage
) -> None:
    async with begun(tmp_path, stage) as gate:
        await gate.apply(stage.older(DOMAIN))
        await ready(gate, OLDER, "DomainConflict")
        first = await since(gate)
    store = NewerStore(gate.directory)
    await store.start()
    reconciler = Reconciler(store, ReconcileSettings(SETTINGS["external_url"]))
    task = asyncio.create_task(reconciler.run())
    try:

        async def refused() -> bool:
            found = condition(await store.get(HOLDER), "Ready").get("reason")
            return found == "InvalidSpec" and reconciler.settled

        await eventually(refused)
        assert condition(await store.get(OLDER), "Ready")["reason"] == "DomainConflict"
        assert hosts_of(gate, APP, "ours") == {EXTERNAL, DOMAIN}
        record = await store.get(RECORD)
        assert record is not None
        assert str(decode_claim(record).since) == first
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.stop()


@pytest.mark.parametrize("deleted", [True, False])
async def test_a_holder_that_drops_a_domain_or_is_deleted_gives_it_to_the_next(
    gate: Gate, stage: Stage, deleted: bool
) -> None:
    await gate.apply(stage.older(DOMAIN))
    await ready(gate, OLDER, "DomainConflict")
    if deleted:
        await gate.delete("Registry", "holder")
    else:
        await gate.apply(stage.holder())
    await until_served(gate, "theirs")
    await ready(gate, OLDER, "Ready")
    assert await domains(gate, OLDER) == [DOMAIN]
    await gate.until(lambda: hosts_of(gate, OLDER_APP, "theirs") == {EXTERNAL, DOMAIN})
    await gate.until(lambda: hosts_of(gate, APP, "ours") == {EXTERNAL})


async def test_a_domain_that_nobody_lists_any_more_leaves_no_record(gate: Gate, stage: Stage) -> None:
    await gate.apply(stage.holder())
    await eventually(lambda: gone(gate))
    assert (await pull(gate, "ours")).fault == "NotEntitled"


async def gone(gate: Gate) -> bool:
    return await gate.store.get(RECORD) is None


async def test_what_a_registry_held_that_went_while_nobody_looked_is_free_at_the_next_start(
    tmp_path: Path, stage: Stage
) -> None:
    async with begun(tmp_path, stage) as gate:
        handoff = gate.directory / ".pullgate" / "secrets" / "pullgate-system" / f"registry.{APP}.holder.yaml"
    for path in (gate.directory / "registry-holder.yaml", handoff):  # the record alone tells of it
        path.unlink()
    async with Gate(gate.directory, **SETTINGS) as again:
        await eventually(lambda: gone(again))
        await again.apply(stage.older(DOMAIN))
        await until_served(again, "theirs")


async def test_a_record_that_a_person_deletes_or_breaks_is_written_again_for_the_same_holder(
    gate: Gate, stage: Stage
) -> None:
    first = await since(gate)
    await gate.apply(stage.older(DOMAIN))
    await ready(gate, OLDER, "DomainConflict")
    path = gate.directory / ".pullgate" / "secrets" / "pullgate-system" / f"{claim_name(DOMAIN)}.yaml"
    broken = path.read_text().replace('"uid":', '"was":')
    for damage in (path.unlink, lambda: path.write_text(broken)):
        damage()
        await eventually(lambda: written_again(gate, path))
        assert await since(gate) == first
        await until_served(gate)


async def written_again(gate: Gate, path: Path) -> bool:
    document = await gate.store.get(RECORD)
    return (
        path.exists() and '"uid":' in path.read_text() and document is not None and "uid" in str(secret_data(document))
    )


async def test_nobody_gets_the_external_host_or_a_local_name_and_mirror_pulls_there_go_on(
    gate: Gate, stage: Stage, docker_registry_basic: DockerRegistry
) -> None:
    mirror = f"?ns={docker_registry_basic.host}"
    await gate.apply(stage.older("other.myapp.test", EXTERNAL, "p.pullgate-system.svc"))
    message = await ready(gate, OLDER, "DomainNotAllowed")
    assert message.startswith(f"{EXTERNAL} is the proxy's own host")
    assert await domains(gate, OLDER) == ["other.myapp.test"]
    await until_served(gate, "theirs", "other.myapp.test")  # the others of its domains, and its paths, are served
    for name in ("ours", "theirs"):
        for host in (EXTERNAL, "p.pullgate-system.svc"):
            assert (await pull(gate, name, host, mirror)).status == 200
            assert (await pull(gate, name, host)).fault == "NotEntitled"
    assert hosts_of(gate, OLDER_APP, "theirs") == {EXTERNAL, "other.myapp.test"}


async def test_the_annotation_of_a_namespace_narrows_and_widens_its_domains_within_a_second(
    gate: Gate, stage: Stage
) -> None:
    await gate.apply(stage.older(DOMAIN))
    await ready(gate, OLDER, "DomainConflict")

    def annotate(**annotations: str) -> None:
        key = Key("Namespace", "", APP)
        document = {"kind": "Namespace", "metadata": {"name": APP, "annotations": annotations}}
        gate.store._feeds.publish(key, document)  # a folder has no Namespaces

    annotate(**{DOMAINS: "*.other.test"})
    async with asyncio.timeout(SECOND):
        await until_served(gate, "theirs")
    message = await ready(gate, HOLDER, "DomainNotAllowed")
    assert message == (
        f"namespace {APP} may not claim {DOMAIN}; the cluster's administrator allows it by the annotation {DOMAINS} "
        "of the Namespace"
    )
    annotate(**{DOMAINS: "*.myapp.test"})
    await ready(gate, HOLDER, "DomainConflict")  # the first claim is the other app's now
    await gate.apply(stage.holder("new.myapp.test"))
    async with asyncio.timeout(SECOND):
        await until_served(gate, "ours", "new.myapp.test")


async def test_a_conflict_tells_nothing_of_the_other_app(
    gate: Gate, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await gate.apply(stage.older(DOMAIN))
    message = await ready(gate, OLDER, "DomainConflict")
    assert message.startswith(f"{DOMAIN} is held by another app; ")
    events = (gate.directory / ".pullgate" / "events.jsonl").read_text().splitlines()
    told = [line for line in events if "DomainConflict" in line]
    asked = ["explain", "theirs", f"{DOMAIN}/{WORKER}:1.0.0", "-n", OLDER_APP, "--folder", str(gate.directory)]
    explained = await pullgate(*asked, "--offline")
    assert (explained.code, len(told)) == (1, 1)
    assert "no domain or upstream of app" in explained.output
    lines = [record.getMessage() for record in caplog.records if DOMAIN in record.getMessage()]
    for text in (message, *told, explained.output, *lines):
        assert APP not in text
        assert "holder" not in text


async def test_a_tenant_that_writes_a_status_gains_nothing(gate: Gate, stage: Stage) -> None:
    await gate.apply(stage.older(DOMAIN))
    await ready(gate, OLDER, "DomainConflict")
    document = await gate.store.get(OLDER)
    assert document is not None
    mine = {"name": DOMAIN, "since": "2020-01-01T00:00:00Z"}
    await gate.store.patch_status(OLDER, {**document["status"], "domains": [mine]})

    async def mended() -> bool:
        return await domains(gate, OLDER) == []

    await eventually(mended)
    assert (await pull(gate, "theirs")).fault == "NotEntitled"
    assert (await pull(gate, "ours")).status == 200
    assert hosts_of(gate, OLDER_APP, "theirs") == {EXTERNAL}


async def test_a_stranger_and_a_customer_of_another_app_learn_of_no_domain(
    gate: Gate, docker_registry_basic: DockerRegistry
) -> None:
    """A claimed host answers as an unclaimed one: without a key, with one, and as a mirror."""
    mirror, unheld = f"?ns={docker_registry_basic.host}", DOMAIN.replace("images", "nobody")

    async def answers(host: str) -> list[tuple[object, ...]]:
        found = []
        for path in ("/v2/", f"/v2/{WORKER}/manifests/1.0.0", "/token", f"/v2/{WORKER}/tags/list", "/"):
            found.append(await gate.get(path, headers={"Host": host}))
            found.append(await gate.get(path, "pgk_" + "0" * 49, headers={"Host": host}))
        found += [await pull(gate, "theirs", host), await pull(gate, "theirs", host, mirror)]
        return [
            (a.status, a.reason, a.fault, seen(a, host), a.headers.get("WWW-Authenticate", "").replace(host, "HOST"))
            for a in found
        ]

    held = await answers(DOMAIN)
    assert held == await answers(unheld)
    assert any('realm="https://HOST/token"' in str(row) for row in held)


def seen(answer: Answer, host: str) -> tuple[str, list[str]]:
    """Body and names of headers, without parts that differ each time."""
    reference = answer.headers.get("X-Request-Id", "-")
    return answer.body.decode().replace(host, "HOST").replace(reference, "REF"), sorted(answer.headers)
