"""The folder as a store: what is in the files is what readers see, and nothing is lost by a slip."""

from __future__ import annotations

import asyncio
import shutil
import stat
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from pullgate.providers.handoff import secret_document
from pullgate.store.folder import FolderInUse, FolderStore
from pullgate.store.port import Change, Key, StoreUnavailable, Synced
from tests.support.folder import Folder, eventually, license_text, registry_text, secret_text

ACME = Key("License", "my-app", "acme")
BETA = Key("License", "my-app", "beta")
ROBOT = Key("Secret", "my-app", "robot")
KINDS = frozenset({"Registry", "License", "Secret"})


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder with one License."""
    found = Folder(tmp_path)
    found.write("licenses.yaml", license_text())
    return found


@pytest.fixture
async def store(folder: Folder) -> AsyncIterator[FolderStore]:
    """A store on it."""
    found = folder.open()
    await found.start()
    yield found
    await found.stop()


async def look_twice(store: FolderStore) -> None:
    """Wait until the store has certainly looked at every file: a new one is seen."""
    marker = store.directory / f"marker-{time.monotonic_ns()}.yaml"
    marker.write_text(secret_text("a", "CANARY-b", name=marker.stem))

    async def seen() -> bool:
        return await store.get(Key("Secret", "my-app", marker.stem)) is not None

    await eventually(seen)
    async with store._writing:  # the round that showed it has ended: everything else it found is shown, too
        pass


def _problems(store: FolderStore) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return bool(store.problems)

    return ask


async def expiry(store: FolderStore, key: Key = ACME) -> object:
    """The License's current `expiresAt`; None if it has none."""
    return ((await store.get(key)) or {}).get("spec", {}).get("expiresAt")


async def test_a_changed_file_takes_effect_without_a_restart(
    folder: Folder, store: FolderStore, record_property: Callable[[str, object], None]
) -> None:
    began = time.monotonic()
    folder.write("licenses.yaml", license_text(expiresAt="2027-01-01T00:00:00Z"))

    async def changed() -> bool:
        return await expiry(store) is not None

    await eventually(changed)
    record_property("seconds", round(time.monotonic() - began, 3))
    document = await store.get(ACME)
    assert document is not None
    assert document["metadata"]["generation"] == 2


async def test_added_and_deleted_files_are_told_to_watchers(folder: Folder, store: FolderStore) -> None:
    watch = store.watch(KINDS)
    first, synced = await anext(watch), await anext(watch)
    assert isinstance(first, Change)
    assert first.key == ACME
    assert isinstance(synced, Synced)
    folder.write("deep/er/secret.json", '{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "robot"}}')
    added = await anext(watch)
    assert isinstance(added, Change)
    assert added.key == Key("Secret", "default", "robot")
    (folder.path / "licenses.yaml").unlink()
    assert await anext(watch) == Change(ACME, None)
    assert not folder.private("status/my-app/license.acme.yaml").exists()  # it had no key yet


async def test_a_slow_watcher_sees_the_last_of_several_changes(folder: Folder, store: FolderStore) -> None:
    watch = store.watch(frozenset({"License"}))
    await anext(watch), await anext(watch)
    for number in range(50):
        await store.patch_status(ACME, {"observedGeneration": number})
    change = await anext(watch)
    assert isinstance(change, Change)
    assert change.document is not None
    assert change.document["status"] == {"observedGeneration": 49}
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(watch), 0.05)


async def test_a_mistake_leaves_the_last_good_state_and_is_told_once(folder: Folder, store: FolderStore) -> None:
    folder.write("licenses.yaml", license_text(expiresAt="x"), license_text("beta"))
    await look_twice(store)
    path = folder.path / "licenses.yaml"
    said = f"{path}:5: License acme: spec.expiresAt: 'x' is not a time; write it like 2027-01-01T00:00:00Z"
    assert folder.problems == [said]
    assert [str(p) for p in store.problems] == [said]
    assert await store.get(ACME) is not None
    assert await store.get(BETA) is not None
    folder.write("licenses.yaml", license_text(), license_text("beta"))
    await look_twice(store)
    assert folder.mended == [str(path)]
    assert store.problems == ()


async def test_the_last_good_state_outlives_a_restart(folder: Folder) -> None:
    store = folder.open()
    await store.start()
    before = await store.get(ACME)
    await store.stop()
    for broken in ("kind: [", license_text(expiresAt="x")):
        folder.write("licenses.yaml", broken)
        store = folder.open()
        await store.start()
        assert await store.get(ACME) == before
        assert store.problems
        await store.stop()


async def test_uid_generation_status_and_secrets_outlive_a_restart(folder: Folder) -> None:
    store = folder.open()
    await store.start()
    await store.patch_status(ACME, {"observedGeneration": 1, "note": "2027-01-01T00:00:00Z"})
    secret = secret_document("my-app", "acme-license", {"text": b"zwei\nZeilen\n", "binary": b"\xff\x00"})
    await store.apply_secret(secret)
    before = [await store.get(ACME), await store.get(Key("Secret", "my-app", "acme-license"))]
    await store.stop()
    again = folder.open()
    await again.start()
    assert [await again.get(ACME), await again.get(Key("Secret", "my-app", "acme-license"))] == before
    assert again.writes == 0
    await again.stop()


async def test_a_file_that_is_gone_for_a_moment_costs_nothing(folder: Folder, store: FolderStore) -> None:
    """Editors remove or truncate a file before they write it; a License that is gone loses its key."""
    watch = store.watch(frozenset({"License"}))
    await anext(watch), await anext(watch)
    path = folder.path / "licenses.yaml"
    for _ in range(20):
        path.unlink()
        await asyncio.sleep(0.02)
        path.write_text("")
        await asyncio.sleep(0.02)
        path.write_text(license_text())
        await asyncio.sleep(0.05)
    await look_twice(store)
    document = await store.get(ACME)
    assert document is not None
    assert document["metadata"]["generation"] == 1
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(watch), 0.05)


async def test_a_resource_that_moves_to_another_file_stays_the_same(folder: Folder, store: FolderStore) -> None:
    before = await store.get(ACME)
    (folder.path / "licenses.yaml").rename(folder.path / "customers.yaml")
    await look_twice(store)
    assert await store.get(ACME) == before
    assert store.problems == ()


async def test_what_is_kept_is_for_the_owner_only(folder: Folder, store: FolderStore) -> None:
    await store.apply_secret(secret_document("my-app", "acme-license", {"key": b"x"}))
    await store.record_event(ACME, "Normal", "Ready", "fine")
    for path in folder.private("").rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE(folder.private("").stat().st_mode) == 0o700


async def test_a_write_that_changes_nothing_writes_nothing(store: FolderStore) -> None:
    secret = secret_document("my-app", "acme-license", {"key": b"x"})
    await store.apply_secret(secret)
    await store.patch_status(ACME, {"observedGeneration": 1})
    writes = store.writes
    await store.apply_secret(secret)
    await store.patch_status(ACME, {"observedGeneration": 1})
    await store.delete_secret("my-app", "nothing")
    await look_twice(store)
    assert store.writes == writes


async def test_a_secret_of_ours_that_a_person_removes_is_told(folder: Folder, store: FolderStore) -> None:
    await store.apply_secret(secret_document("my-app", "acme-license", {"key": b"x"}))
    watch = store.watch(frozenset({"Secret"}))
    await anext(watch), await anext(watch)
    path = folder.private("secrets/my-app/acme-license.yaml")
    path.write_text("kind: [")  # a slip of the editor costs no key
    await eventually(_problems(store))
    assert await store.get(Key("Secret", "my-app", "acme-license")) is not None
    path.unlink()
    assert await anext(watch) == Change(Key("Secret", "my-app", "acme-license"), None)


async def test_a_secret_of_the_vendor_is_never_overwritten(folder: Folder, store: FolderStore) -> None:
    folder.write("robot.yaml", secret_text("u", "CANARY-p"))
    await look_twice(store)
    before = await store.get(ROBOT)
    with pytest.raises(StoreUnavailable, match="your own files"):
        await store.apply_secret(secret_document("my-app", "robot", {"key": b"x"}))
    await store.delete_secret("my-app", "robot")
    assert await store.get(ROBOT) == before


@pytest.mark.parametrize("name", ["../../up", "a/b", "", ".", "A"])
async def test_no_name_leads_out_of_the_folder(folder: Folder, store: FolderStore, name: str) -> None:
    with pytest.raises(ValueError):
        await store.apply_secret(secret_document("my-app", name, {"key": b"x"}))
    folder.write("evil.yaml", license_text(f"'{name}'"))
    await look_twice(store)
    assert store.problems
    assert not list(folder.path.parent.glob("up*"))
    assert not list(folder.path.rglob("up*"))


async def test_one_process_at_a_time_serves_a_folder(folder: Folder, store: FolderStore) -> None:
    with pytest.raises(FolderInUse):
        await folder.open().start()


async def test_a_folder_that_cannot_be_read_takes_nothing_away(folder: Folder, store: FolderStore) -> None:
    away = folder.path.with_name("away")
    folder.path.rename(away)
    await eventually(_problems(store))
    assert await store.get(ACME) is not None
    away.rename(folder.path)

    async def mended() -> bool:
        return not store.problems

    await eventually(mended)
    assert await store.get(ACME) is not None


async def test_hidden_folders_and_other_files_are_passed_over(folder: Folder, store: FolderStore) -> None:
    folder.write(".git/x.yaml", "kind: [")
    folder.write("README.md", "kind: [")
    folder.write("namespace.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: my-app}\n")
    folder.write("up.yaml", registry_text("127.0.0.1:1"))
    await look_twice(store)
    assert store.problems == ()
    assert await store.get(Key("Registry", "my-app", "up")) is not None


KEYS = {"keys": [{"id": "k00000", "digest": f"sha256:{'0' * 64}", "issuedAt": "2026-01-01T00:00:00Z"}]}
LICENSE_SECRET = Key("Secret", "my-app", "acme-license")
PULL_SECRET = Key("Secret", "my-app", "acme-pull")


async def with_keys(folder: Folder, store: FolderStore, *names: str) -> None:
    """Licenses that have a key, and a Registry."""
    folder.write("registry.yaml", registry_text("quay.io"))
    for name in names:
        folder.write(f"{name}.yaml", license_text(name))
        key = Key("License", "my-app", name)

        async def there(key: Key = key) -> bool:
            return await store.get(key) is not None

        await eventually(there)
        await store.patch_status(key, KEYS)


def _mended(store: FolderStore) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return not store.problems

    return ask


async def test_a_license_that_is_put_back_is_the_same_with_its_keys(folder: Folder, store: FolderStore) -> None:
    await store.patch_status(ACME, KEYS)
    before = await store.get(ACME)
    (folder.path / "licenses.yaml").unlink()

    async def gone() -> bool:
        return await store.get(ACME) is None

    await eventually(gone)
    assert await store.gone_since(ACME) is not None
    await store.patch_status(ACME, {})  # of a reconcile that was under way
    folder.write("licenses.yaml", license_text())
    await look_twice(store)
    assert await store.get(ACME) == before
    assert await store.gone_since(ACME) is None


async def test_a_license_that_was_gone_outlives_a_restart_until_it_is_forgotten(folder: Folder) -> None:
    store = folder.open()
    await store.start()
    await store.patch_status(ACME, KEYS)
    before = await store.get(ACME)
    await store.stop()
    (folder.path / "licenses.yaml").unlink()
    for _ in range(2):
        store = folder.open()
        await store.start()
        assert await store.get(ACME) is None
        since = await store.gone_since(ACME)
        assert since is not None
        await store.stop()
    folder.write("licenses.yaml", license_text())
    store = folder.open()
    await store.start()
    assert await store.get(ACME) == before
    (folder.path / "licenses.yaml").unlink()

    async def gone() -> bool:
        return await store.gone_since(ACME) is not None

    await eventually(gone)
    await store.forget(ACME)
    await store.stop()
    assert not folder.private("status/my-app/license.acme.yaml").exists()


async def test_a_license_for_another_customer_is_another_license(folder: Folder, store: FolderStore) -> None:
    folder.write("licenses.yaml", license_text(customer="{id: C-1}"))
    await look_twice(store)
    await store.patch_status(ACME, KEYS)
    (folder.path / "licenses.yaml").unlink()

    async def gone() -> bool:
        return await store.get(ACME) is None

    await eventually(gone)
    folder.write("licenses.yaml", license_text(customer="{id: C-2}"))
    await look_twice(store)
    document = await store.get(ACME)
    assert document is not None
    assert document["status"] == {}


@pytest.mark.parametrize("restart", [False, True], ids=["running", "at start"])
async def test_a_folder_that_lost_everything_at_once_is_a_fault_and_no_order(folder: Folder, restart: bool) -> None:
    """Not mounted, or another branch is checked out."""
    store = folder.open()
    await store.start()
    await with_keys(folder, store, "beta")
    before = [await store.get(key) for key in (ACME, BETA)]
    if restart:
        await store.stop()
    for name in ("licenses", "beta", "registry"):
        (folder.path / f"{name}.yaml").rename(folder.path / f"{name}.away")
    if restart:
        store = folder.open()
        await store.start()
    await eventually(_problems(store))
    assert "Licenses (2) and Registries (1) are missing at once" in folder.problems[-1]
    await look_twice(store)
    assert [await store.get(key) for key in (ACME, BETA)] == before
    for name in ("licenses", "beta", "registry"):
        (folder.path / f"{name}.away").rename(folder.path / f"{name}.yaml")
    await eventually(_mended(store))
    await look_twice(store)
    assert [await store.get(key) for key in (ACME, BETA)] == before
    await store.stop()


async def test_one_after_another_all_licenses_can_be_removed(folder: Folder, store: FolderStore) -> None:
    await with_keys(folder, store, "beta")
    for name, key in (("licenses", ACME), ("beta", BETA)):
        (folder.path / f"{name}.yaml").unlink()

        async def gone(key: Key = key) -> bool:
            return await store.get(key) is None

        await eventually(gone)
    assert not store.problems


async def test_a_folder_that_is_away_is_not_made_anew_by_a_write(folder: Folder, store: FolderStore) -> None:
    """Such a folder would be empty, and everything in it removed."""
    await store.patch_status(ACME, KEYS)
    before, away = await store.get(ACME), folder.path.with_name("away")
    folder.path.rename(away)
    for write in (
        store.patch_status(ACME, {}),
        store.apply_secret(secret_document("my-app", "x", {"key": b"x"})),
    ):
        with pytest.raises(StoreUnavailable):
            await write
    await eventually(_problems(store))
    assert not folder.path.exists()
    folder.path.mkdir()  # as a mount point without its volume is
    await asyncio.sleep(1)
    assert await store.get(ACME) == before
    folder.path.rmdir()
    away.rename(folder.path)
    await eventually(_mended(store))
    await look_twice(store)
    assert await store.get(ACME) == before


@pytest.mark.parametrize("lost", ["", "secrets", "secrets/my-app"])
async def test_what_only_pullgate_holds_is_written_again_when_somebody_removes_it(
    folder: Folder, store: FolderStore, lost: str
) -> None:
    """`git clean -fdx` removes what .gitignore names."""
    await store.patch_status(ACME, KEYS)
    for key in (LICENSE_SECRET, PULL_SECRET):
        await store.apply_secret(secret_document(key.namespace, key.name, {"key": b"x"}))
    before = [await store.get(key) for key in (ACME, LICENSE_SECRET, PULL_SECRET)]
    shutil.rmtree(folder.private(lost))

    async def written() -> bool:
        return all(folder.private(f"secrets/my-app/{key.name}.yaml").exists() for key in (LICENSE_SECRET, PULL_SECRET))

    await eventually(written)
    await look_twice(store)
    assert [await store.get(key) for key in (ACME, LICENSE_SECRET, PULL_SECRET)] == before
    await store.stop()
    again = folder.open()
    await again.start()
    assert [await again.get(key) for key in (ACME, LICENSE_SECRET, PULL_SECRET)] == before
    await again.stop()


def files_that_git_takes(path: Path) -> list[str]:
    """After `git add .`."""
    git = ["git", "-C", str(path)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    return subprocess.run([*git, "ls-files"], check=True, capture_output=True, text=True).stdout.split()


async def test_git_takes_nothing_of_what_is_kept(folder: Folder, store: FolderStore) -> None:
    await store.apply_secret(secret_document("my-app", "acme-license", {"key": b"x"}))
    assert await asyncio.to_thread(files_that_git_takes, folder.path) == ["licenses.yaml"]
