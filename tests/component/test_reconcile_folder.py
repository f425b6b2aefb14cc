"""The reconcilers on a real folder, with a real registry to log in to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from pullgate.licensing.license_file import verify_license
from pullgate.policy.tenancy import LOOPBACK, TenantPolicy
from pullgate.providers.handoff import decode_handoff, decode_signing_keys, secret_data
from pullgate.resources.fields import format_time
from pullgate.store.folder import FolderStore
from pullgate.store.port import Document, Key
from pullgate_operator.plan.claims import Claims
from pullgate_operator.plan.signing import read_license_key
from pullgate_operator.reconcile.license import LicenseReconciler
from pullgate_operator.reconcile.loop import Reconciler
from pullgate_operator.reconcile.settings import ReconcileSettings
from pullgate_operator.reconcile.signing import LICENSE_KEY, TOKEN_KEYS, SigningReconciler
from pullgate_operator.reconcile.usage import UsageLedger
from tests.support.folder import Folder, condition, eventually, license_text, registry_text, secret_text
from tests.support.ports import Blackhole, dead_port
from tests.support.tls import Authority
from tests.support.upstreams import DockerRegistry

ACME = Key("License", "my-app", "acme")
UP = Key("Registry", "my-app", "up")
LICENSE_SECRET = Key("Secret", "my-app", "acme-license")
PULL_SECRET = Key("Secret", "my-app", "acme-pull")
GRACE = ReconcileSettings("https://images.example.com").key_grace
LOCAL = TenantPolicy(networks=LOOPBACK)
HANDOFF = Key("Secret", "pullgate-system", "registry.my-app.up")


class Clock:
    """The time, moved by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Operator:
    """A store with reconcilers at work."""

    def __init__(self, folder: Folder, store: FolderStore, reconciler: Reconciler) -> None:
        self.folder, self.store, self.reconciler = folder, store, reconciler

    async def get(self, key: Key) -> Document | None:
        """A document."""
        return await self.store.get(key)

    async def until(self, key: Key, type_: str, status: str, reason: str | None = None) -> dict[str, Any]:
        """The condition, once it has this status (and reason)."""

        async def ask() -> dict[str, Any]:
            found = condition(await self.store.get(key), type_)
            fits = found.get("status") == status and reason in {None, found.get("reason")}
            return found if fits and self.reconciler.settled else {}

        return await eventually(ask)

    async def facts(self) -> dict[str, Any]:
        """The verified facts in the license file of acme."""
        file, signing = await self.store.get(LICENSE_SECRET), await self.store.get(LICENSE_KEY)
        assert file is not None
        assert signing is not None
        return verify_license(secret_data(file)["license.yaml"].decode(), [read_license_key(signing)[1]])


@contextlib.asynccontextmanager
async def operator(folder: Folder, clock: Callable[[], datetime] | None = None) -> AsyncIterator[Operator]:
    """Reconcilers at work on `folder`."""
    store = folder.open()
    await store.start()
    settings = ReconcileSettings("https://images.example.com", tenants=LOCAL, longest_sleep=0.1)
    reconciler = Reconciler(store, settings, clock) if clock is not None else Reconciler(store, settings)
    task = asyncio.create_task(reconciler.run())
    try:
        yield Operator(folder, store, reconciler)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.stop()


@pytest.fixture
def folder(tmp_path: Path, docker_registry_basic: DockerRegistry) -> Folder:
    """A Registry with its Secret, and a License."""
    found = Folder(tmp_path)
    found.write("registry.yaml", registry_text(docker_registry_basic.host, domains="[images.myapp.com]"))
    found.write("robot.yaml", secret_text(docker_registry_basic.username, docker_registry_basic.password))
    found.write("license.yaml", license_text())
    return found


async def test_a_registry_and_a_license_become_ready(folder: Folder, docker_registry_basic: DockerRegistry) -> None:
    async with operator(folder) as at_work:
        await at_work.until(UP, "Ready", "True")
        await at_work.until(ACME, "Ready", "True")
        handoff = await at_work.get(HANDOFF)
        assert handoff is not None
        credentials = decode_handoff(handoff).credentials
        assert credentials is not None
        assert credentials.password == docker_registry_basic.password
        keys = await at_work.get(TOKEN_KEYS)
        assert keys is not None
        assert len(decode_signing_keys(keys)) == 1
        facts = await at_work.facts()
        assert facts["hosts"] == ["images.example.com", "images.myapp.com"]
        assert facts["key"].startswith("pgk_")
        assert folder.reasons("acme") == ["KeyIssued"]
        assert folder.reasons("up") == ["Ready"]


async def test_nothing_is_written_when_nothing_changed(folder: Folder) -> None:
    """A restart looks at everything again; all that it may write is when the upstream was asked last."""
    async with operator(folder) as at_work:
        await at_work.until(UP, "Ready", "True")
        await at_work.until(ACME, "Ready", "True")
    files = {path: path.read_bytes() for path in folder.private("").rglob("*.yaml")}
    events = len(folder.events)
    clock = Clock()
    clock.ahead = timedelta(hours=1, seconds=100)
    async with operator(folder, clock) as at_work:

        async def checked_again() -> bool:
            document = await at_work.get(UP)
            assert document is not None
            return bool(document["status"]["lastCheck"]["time"] > format_time(datetime.now(UTC)))

        await eventually(checked_again)
        folder.write("license.yaml", "# a comment more\n" + license_text())
        await at_work.until(ACME, "Ready", "True")
        assert at_work.store.writes == 1
    changed_files = {path for path in files if path.read_bytes() != files[path]}
    assert changed_files == {folder.private("status/my-app/registry.up.yaml")}
    assert len(folder.events) == events


async def test_right_and_wrong_credentials_are_told_apart(
    folder: Folder, docker_registry_basic: DockerRegistry
) -> None:
    async with operator(folder) as at_work:
        await at_work.until(UP, "Ready", "True")
        folder.write("robot.yaml", secret_text(docker_registry_basic.username, "CANARY-wrong"))
        await at_work.until(UP, "Ready", "False", "UpstreamUnauthorized")
        document = await at_work.get(UP)
        assert condition(document, "Reachable")["status"] == "True"
        assert condition(document, "Stalled")["status"] == "True"
        assert "renew the credentials in Secret robot" in condition(document, "Authenticated")["message"]
        folder.write("robot.yaml", secret_text(docker_registry_basic.username, docker_registry_basic.password))
        await at_work.until(UP, "Ready", "True")
        assert folder.reasons("up") == ["Ready", "UpstreamUnauthorized", "Ready"]


async def test_an_image_of_the_registry_is_asked_for_after_the_login(
    folder: Folder, docker_registry_basic: DockerRegistry
) -> None:
    host = docker_registry_basic.host
    folder.write("registry.yaml", registry_text(host, check="{image: my-org/api:no-such}"))
    async with operator(folder) as at_work:
        found = await at_work.until(UP, "Ready", "False", "ManifestUnknown")
        assert found["message"] == f"my-org/api:no-such is not on {host}; check spec.check.image"
        document = await at_work.get(UP)
        assert condition(document, "Authenticated")["status"] == "True"
        assert condition(document, "Stalled")["status"] == "True"
        assert await at_work.get(HANDOFF) is not None
        folder.write("registry.yaml", registry_text(host, check=f"{{image: '{host}/my-org/api:stable'}}"))
        await at_work.until(UP, "Ready", "True")
        assert folder.reasons("up") == ["ManifestUnknown", "Ready"]


async def test_without_its_secret_the_proxy_gets_no_credentials(folder: Folder) -> None:
    async with operator(folder) as at_work:
        await at_work.until(UP, "Ready", "True")
        (folder.path / "robot.yaml").unlink()
        found = await at_work.until(UP, "Ready", "False", "CredentialsMissing")
        assert "there is no Secret robot; create it in my-app" in found["message"]
        assert await at_work.get(HANDOFF) is None


async def test_what_names_another_resource_goes_on_by_itself_when_that_comes(
    folder: Folder, docker_registry_basic: DockerRegistry, authority: Authority
) -> None:
    host = docker_registry_basic.host
    (folder.path / "registry.yaml").unlink()
    (folder.path / "robot.yaml").unlink()
    async with operator(folder) as at_work:
        found = await at_work.until(ACME, "Ready", "False", "RegistryUnknown")
        assert "there is no Registry up in my-app" in found["message"]
        tls = "{plainHTTP: true, caSecretRef: {name: ca}}"
        folder.write("registry.yaml", registry_text(host, tls=tls))
        await at_work.until(ACME, "Ready", "True")
        found = await at_work.until(UP, "Ready", "False", "CredentialsMissing")
        assert "there is no Secret ca for the CA" in found["message"]
        secret = secret_text(docker_registry_basic.username, docker_registry_basic.password)
        folder.write("ca.yaml", yaml.safe_dump(ca_secret(authority)))

        async def lacks_robot() -> bool:
            return "there is no Secret robot" in condition(await at_work.get(UP), "Ready")["message"]

        await eventually(lacks_robot)
        folder.write("robot.yaml", secret)
        await at_work.until(UP, "Ready", "True")


def ca_secret(authority: Authority) -> Document:
    metadata = {"name": "ca", "namespace": "my-app"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"ca.crt": authority.pem}}


async def test_an_upstream_that_is_not_there_is_told_and_asked_again(folder: Folder) -> None:
    with dead_port() as host:
        folder.write("registry.yaml", registry_text(host))
        async with operator(folder) as at_work:
            await at_work.until(UP, "Ready", "False", "UpstreamUnreachable")
            document = await at_work.get(UP)
            assert condition(document, "Reconciling")["status"] == "True"
            assert condition(document, "Authenticated")["status"] == "Unknown"


async def test_an_upstream_that_does_not_answer_holds_up_nothing_else(folder: Folder) -> None:
    async with Blackhole() as hole:
        for number in range(20):
            folder.write(f"hole-{number}.yaml", registry_text(hole.host, f"hole-{number}"))
        async with operator(folder) as at_work:
            await at_work.until(ACME, "Ready", "True")
            folder.write("license.yaml", license_text(suspended="{reason: unpaid}"))
            await at_work.until(ACME, "Valid", "False", "Suspended")

            async def asked() -> bool:
                return hole.connections > 0

            await eventually(asked)
            assert hole.connections <= ReconcileSettings("x").checks


async def test_a_deleted_license_takes_its_secrets_along_after_the_grace_time(folder: Folder) -> None:
    clock = Clock()
    async with operator(folder, clock) as at_work:
        await at_work.until(ACME, "Ready", "True")
        (folder.path / "license.yaml").unlink()

        async def told() -> bool:
            return "KeyKept" in folder.reasons("acme") and at_work.reconciler.settled

        async def gone() -> bool:
            forgotten = not folder.private("status/my-app/license.acme.yaml").exists()
            secrets = [await at_work.get(key) for key in (LICENSE_SECRET, PULL_SECRET)]
            return forgotten and secrets == [None, None]

        await eventually(told)
        clock.ahead = GRACE - timedelta(minutes=1)
        await at_work.until(UP, "Reachable", "True")
        assert await at_work.get(LICENSE_SECRET) is not None
        clock.ahead = GRACE + timedelta(seconds=1)
        await eventually(gone)
        assert folder.reasons("acme").count("KeyKept") == 1


async def test_a_license_that_is_put_back_within_the_grace_time_has_its_key(folder: Folder) -> None:
    clock = Clock()
    async with operator(folder, clock) as at_work:
        await at_work.until(ACME, "Ready", "True")
        key = (await at_work.facts())["key"]
    (folder.path / "license.yaml").rename(folder.path / "license.away")
    for _ in range(2):
        clock.ahead += GRACE / 2 - timedelta(minutes=1)
        async with operator(folder, clock) as at_work:
            await at_work.until(UP, "Ready", "True")
            assert await at_work.get(ACME) is None
    (folder.path / "license.away").rename(folder.path / "license.yaml")
    async with operator(folder, clock) as at_work:
        await at_work.until(ACME, "Ready", "True")
        assert (await at_work.facts())["key"] == key
        assert folder.reasons("acme").count("KeyIssued") == 1


async def test_a_restart_begins_the_grace_time_not_anew(folder: Folder) -> None:
    async with operator(folder) as at_work:
        await at_work.until(ACME, "Ready", "True")
    (folder.path / "license.yaml").unlink()
    async with operator(folder) as at_work:

        async def told() -> bool:
            return "KeyKept" in folder.reasons("acme")

        await eventually(told)
    clock = Clock()
    clock.ahead = GRACE + timedelta(minutes=1)
    async with operator(folder, clock) as at_work:

        async def gone() -> bool:
            return await at_work.get(LICENSE_SECRET) is None

        await eventually(gone)


async def test_a_license_that_is_put_back_for_another_customer_has_another_key(folder: Folder) -> None:
    folder.write("license.yaml", license_text(customer="{id: C-1}"))
    async with operator(folder) as at_work:
        await at_work.until(ACME, "Ready", "True")
        key = (await at_work.facts())["key"]
        (folder.path / "license.yaml").unlink()

        async def told() -> bool:
            return "KeyKept" in folder.reasons("acme")

        async def reissued() -> bool:
            return bool((await at_work.facts())["key"] != key)

        await eventually(told)
        folder.write("license.yaml", license_text(customer="{id: C-2}"))
        await eventually(reissued)


async def test_a_folder_that_is_empty_for_a_moment_costs_no_key(folder: Folder) -> None:
    folder.write("beta.yaml", license_text("beta"))
    away = folder.path / "away"
    away.mkdir()
    async with operator(folder) as at_work:
        await at_work.until(ACME, "Ready", "True")
        await at_work.until(Key("License", "my-app", "beta"), "Ready", "True")
        key = (await at_work.facts())["key"]
    files = list(folder.path.glob("*.yaml"))
    for path in files:
        path.rename(away / f"{path.name}.away")
    for put_back in (False, True):
        async with operator(folder) as at_work:
            await at_work.until(ACME, "Valid", "True")
            assert (await at_work.facts())["key"] == key
        if not put_back:
            for path in files:
                (away / f"{path.name}.away").rename(path)
    assert folder.reasons("acme").count("KeyIssued") == 1


async def test_what_was_deleted_while_nobody_looked_is_removed_at_the_start(folder: Folder) -> None:
    folder.write("beta.yaml", license_text("beta"))
    async with operator(folder) as at_work:
        await at_work.until(ACME, "Ready", "True")
        await at_work.until(UP, "Ready", "True")
    (folder.path / "license.yaml").unlink()
    (folder.path / "registry.yaml").unlink()
    clock = Clock()
    async with operator(folder, clock) as at_work:

        async def noticed() -> bool:
            return "KeyKept" in folder.reasons("acme")

        await eventually(noticed)
        clock.ahead = GRACE + timedelta(minutes=1)

        async def gone() -> bool:
            keys = (LICENSE_SECRET, PULL_SECRET, HANDOFF)
            return all([await at_work.get(key) is None for key in keys])

        await eventually(gone)
        assert await at_work.get(LICENSE_KEY) is not None


async def test_a_lost_signing_key_is_told_and_costs_no_license_key(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    async with operator(folder) as at_work:
        await at_work.until(ACME, "Ready", "True")
        key = (await at_work.facts())["key"]
        assert "license-signing-key is gone" not in caplog.text
        folder.private("secrets/pullgate-keys/license-signing-key.yaml").unlink()

        async def told() -> bool:
            return "license-signing-key is gone" in caplog.text and at_work.reconciler.settled

        await eventually(told)
        assert (await at_work.facts())["key"] == key


async def test_a_license_as_large_as_it_may_be_has_one_key(folder: Folder) -> None:
    text = license_text(keys="{rotation: 90d}").rpartition("  entitlements:")[0] + "  entitlements:\n"
    each = ", ".join(f"{'x' * 240}-{number:02}" for number in range(24))
    folder.write("license.yaml", text + f"  - {{registry: up, repositories: [{each}]}}\n" * 16)
    async with operator(folder) as at_work:
        await at_work.until(ACME, "Ready", "True")
        key = (await at_work.facts())["key"]
        await at_rest(at_work.store)
        assert (await at_work.facts())["key"] == key
        file = await at_work.get(LICENSE_SECRET)
        assert file is not None
        assert len(secret_data(file)["license.yaml"]) > 200 * 1024
    assert [reason for reason in folder.reasons("acme") if reason.startswith("Key")] == ["KeyIssued"]


async def test_a_deleted_secret_is_rebuilt_with_a_new_key(folder: Folder) -> None:
    async with operator(folder) as at_work:
        await at_work.until(ACME, "Ready", "True")
        old = (await at_work.facts())["key"]
        folder.private("secrets/my-app/acme-license.yaml").unlink()

        async def reissued() -> bool:
            return "KeyReissued" in folder.reasons("acme")

        await eventually(reissued)
        new = (await at_work.facts())["key"]
        assert new != old
        pull = await at_work.get(PULL_SECRET)
        assert pull is not None
        assert new in secret_data(pull)[".dockerconfigjson"].decode()
        document = await at_work.get(ACME)
        assert document is not None
        assert [sorted(k) for k in document["status"]["keys"]] == [
            ["digest", "id", "issuedAt"],
            ["digest", "expiresAt", "id", "issuedAt", "replacedAt"],
        ]


async def test_an_annotation_rotates_the_key(folder: Folder) -> None:
    async with operator(folder) as at_work:
        await at_work.until(ACME, "Ready", "True")
        old = (await at_work.facts())["key"]
        folder.write("license.yaml", license_text(annotation="today"))

        async def rotated() -> bool:
            return "KeyRotated" in folder.reasons("acme")

        await eventually(rotated)
        assert (await at_work.facts())["key"] != old


async def test_time_alone_expires_a_license_and_rotates_keys(folder: Folder) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)
    folder.write("license.yaml", license_text(expiresAt=soon.strftime("%Y-%m-%dT%H:%M:%SZ"), keys="{rotation: 1s}"))
    async with operator(folder) as at_work:
        await at_work.until(ACME, "Ready", "True")
        await at_work.until(ACME, "Valid", "False", "Expired")

        async def rotated() -> bool:
            return "KeyRotated" in folder.reasons("acme")

        await eventually(rotated)


async def test_a_clock_that_is_set_is_followed_and_costs_one_key_and_no_endless_writes(folder: Folder) -> None:
    offset = timedelta()
    end = (datetime.now(UTC) + timedelta(days=180)).strftime("%Y-%m-%dT%H:%M:%SZ")
    folder.write("license.yaml", license_text(expiresAt=end, keys="{rotation: 90d, overlap: 1d}"))
    async with operator(folder, lambda: datetime.now(UTC) + offset) as at_work:
        await at_work.until(ACME, "Valid", "True")
        for days, status in ((365, "False"), (0, "True"), (-365, "True"), (365, "False"), (0, "True")):
            offset = timedelta(days=days)
            await at_work.until(ACME, "Valid", status)
        assert folder.reasons("acme").count("KeyRotated") == 1
        await at_rest(at_work.store)


async def at_rest(store: FolderStore) -> None:
    """Wait until nothing is written any more."""

    async def rested() -> bool:
        before = store.writes
        await asyncio.sleep(1)
        return store.writes == before

    await eventually(rested)


async def test_the_older_of_two_registries_holds_host_and_domain(
    folder: Folder, docker_registry_basic: DockerRegistry
) -> None:
    async with operator(folder) as at_work:
        await at_work.until(UP, "Ready", "True")
        host = docker_registry_basic.host
        # If two are created in the same second, the name decides, and "young" sorts after "up".
        folder.write("young.yaml", registry_text(host, "young"))
        young = Key("Registry", "my-app", "young")
        await at_work.until(young, "Ready", "False", "HostConflict")
        folder.write("young.yaml", registry_text(host, "young", domains="[images.myapp.com]"))
        await at_work.until(young, "Ready", "False", "DomainConflict")
        assert condition(await at_work.get(UP), "Ready")["status"] == "True"
        (folder.path / "registry.yaml").unlink()
        await at_work.until(young, "Ready", "True")
        await at_work.until(ACME, "Ready", "False", "RegistryUnknown")


async def test_a_new_domain_reaches_the_pull_secrets(folder: Folder, docker_registry_basic: DockerRegistry) -> None:
    async with operator(folder) as at_work:
        await at_work.until(ACME, "Ready", "True")
        folder.write("registry.yaml", registry_text(docker_registry_basic.host, domains="[new.myapp.com]"))

        async def reached() -> bool:
            return bool((await at_work.facts())["hosts"] == ["images.example.com", "new.myapp.com"])

        await eventually(reached)


async def test_a_lost_handoff_is_written_again(folder: Folder) -> None:
    async with operator(folder) as at_work:
        await at_work.until(UP, "Ready", "True")
        before = await at_work.get(HANDOFF)
        path = folder.private("secrets/pullgate-system/registry.my-app.up.yaml")
        path.unlink()

        async def again() -> bool:
            return await asyncio.to_thread(path.exists) and await at_work.get(HANDOFF) == before

        await eventually(again)


async def test_a_file_that_breaks_costs_no_key(folder: Folder) -> None:
    async with operator(folder) as at_work:
        await at_work.until(ACME, "Ready", "True")
        key = (await at_work.facts())["key"]
    folder.write("license.yaml", "kind: [")
    async with operator(folder) as at_work:
        await at_work.until(ACME, "Ready", "True")
        assert (await at_work.facts())["key"] == key
        folder.write("license.yaml", license_text())

        async def mended() -> bool:
            return bool(folder.mended)

        await eventually(mended)
        assert (await at_work.facts())["key"] == key


class RecordingStore(FolderStore):
    """A folder that notes in which order Licenses are worked on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.taken: list[str] = []

    async def get(self, key: Key) -> Document | None:
        if key.kind == "License":
            self.taken.append(key.name)
        return await super().get(key)


@pytest.mark.parametrize("lost", [LICENSE_SECRET, LICENSE_KEY])
async def test_a_slip_in_a_file_that_holds_a_key_costs_no_key_at_a_start(folder: Folder, lost: Key) -> None:
    async with operator(folder) as at_work:
        await at_work.until(ACME, "Ready", "True")
        before = await at_work.get(LICENSE_SECRET), await at_work.get(LICENSE_KEY)
    path = folder.private(f"secrets/{lost.namespace}/{lost.name}.yaml")
    text = path.read_text()
    path.write_text(f"kind: [\n{text}")
    async with operator(folder) as at_work:

        async def told() -> bool:
            return any(str(path) in problem for problem in folder.problems)

        await eventually(told)
        await asyncio.sleep(1)
        assert path.read_text() == f"kind: [\n{text}"
        path.write_text(text)
        await at_work.until(ACME, "Ready", "True")

        async def mended() -> bool:
            return (await at_work.get(LICENSE_SECRET), await at_work.get(LICENSE_KEY)) == before

        await eventually(mended)
    assert folder.reasons("acme").count("KeyIssued") == 1
    assert "KeyReissued" not in folder.reasons("acme")


class ForgetfulStore(FolderStore):
    """A folder whose memory misses Secrets that are there, as that of a watch may."""

    missed = frozenset[Key]()

    async def get(self, key: Key) -> Document | None:
        return None if key in self.missed else await super().get(key)

    async def fetch(self, key: Key) -> Document | None:
        return await super().get(key)


async def test_a_secret_that_the_watch_did_not_tell_of_costs_no_key(folder: Folder) -> None:
    async with operator(folder) as at_work:
        await at_work.until(ACME, "Ready", "True")
        before = (await at_work.facts())["key"], await at_work.get(LICENSE_KEY), await at_work.get(TOKEN_KEYS)
    store = ForgetfulStore(folder.path)
    store.missed = frozenset({LICENSE_SECRET, LICENSE_KEY, TOKEN_KEYS})
    await store.start()
    reconciler = Reconciler(store, ReconcileSettings("https://images.example.com", tenants=LOCAL))
    task = asyncio.create_task(reconciler.run())
    try:

        async def done() -> bool:
            return reconciler.settled

        await eventually(done)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.stop()
    async with operator(folder) as at_work:
        await at_work.until(ACME, "Ready", "True")
        assert ((await at_work.facts())["key"], await at_work.get(LICENSE_KEY), await at_work.get(TOKEN_KEYS)) == before
        assert "KeyReissued" not in folder.reasons("acme")


async def test_a_license_that_the_watch_did_not_tell_of_keeps_its_secrets(folder: Folder) -> None:
    async with operator(folder) as at_work:
        await at_work.until(ACME, "Ready", "True")
    store, clock = ForgetfulStore(folder.path), Clock()
    store.missed = frozenset({ACME})
    await store.start()
    settings = ReconcileSettings("https://images.example.com", tenants=LOCAL, longest_sleep=0.1)
    reconciler = LicenseReconciler(
        store, Claims(), SigningReconciler(store, clock), UsageLedger(clock), clock, settings
    )
    try:
        assert await reconciler.reconcile(ACME) is not None
        clock.ahead = GRACE + timedelta(days=1)
        assert await reconciler.reconcile(ACME) is not None  # it is looked at again
        assert await store.get(LICENSE_SECRET) is not None
    finally:
        await store.stop()


async def test_what_changed_while_nobody_led_goes_before_the_pass_of_a_new_leader(folder: Folder) -> None:
    for number in range(40):
        folder.write(f"l{number}.yaml", license_text(f"l{number}"))
    async with operator(folder) as at_work:
        for number in range(40):
            await at_work.until(Key("License", "my-app", f"l{number}"), "Valid", "True")
    folder.write("l30.yaml", license_text("l30", suspended="{reason: unpaid}"))
    folder.write("zoe.yaml", license_text("zoe"))
    store = RecordingStore(folder.path)
    await store.start()
    reconciler = Reconciler(store, ReconcileSettings("https://images.example.com", tenants=LOCAL, workers=1))
    task = asyncio.create_task(reconciler.run())
    try:

        async def done() -> bool:
            return reconciler.settled

        await eventually(done)
        taken = list(dict.fromkeys(store.taken))
        assert set(taken[:2]) == {"l30", "zoe"}
        assert len(taken) == 42
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.stop()
