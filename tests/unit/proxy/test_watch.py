"""The proxy leaves the event loop to customers, however much it reads of a store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pullgate.store.port import Change, Key, Synced
from pullgate_proxy.state.snapshot import Snapshot
from pullgate_proxy.state.watch import follow

APP = "my-app"


def license_change(name: str, *entitlements: dict[str, Any]) -> Change:
    spec = {"entitlements": list(entitlements) or [{"repositories": ["a/**"]}]}
    status = {
        "keys": [{"id": "k00000", "digest": f"sha256:{abs(hash(name)):064x}", "issuedAt": "2026-01-01T00:00:00Z"}]
    }
    metadata = {"name": name, "namespace": APP}
    document = {"apiVersion": "pullgate.dev/v1alpha1", "kind": "License", "metadata": metadata}
    return Change(Key("License", APP, name), {**document, "spec": spec, "status": status})


class Present:
    """A store that has all its documents at once, and then nothing."""

    def __init__(self, *changes: Change) -> None:
        self._changes = changes

    async def watch(self, kinds: frozenset[str]) -> AsyncIterator[Change | Synced]:
        for change in self._changes:
            yield change
        yield Synced()


async def turns_until_followed(*changes: Change) -> tuple[int, Snapshot]:
    """Turns of the loop that others got while the changes were taken in."""
    snapshot, turns = Snapshot(), 0
    following = asyncio.create_task(follow(Present(*changes), snapshot, lambda name: None))
    while not following.done():
        turns += 1
        await asyncio.sleep(0)
    await following
    return turns, snapshot


async def test_a_first_list_of_many_documents_is_taken_in_by_slices() -> None:
    turns, snapshot = await turns_until_followed(*(license_change(f"license-{number}") for number in range(3000)))
    assert snapshot.counts()["License"] == 3000
    assert turns > 4


async def test_a_large_license_is_read_beside_the_event_loop() -> None:
    largest = [{"repositories": [f"a/{n}-{m}-{'*x' * 9}" for m in range(60)]} for n in range(40)]
    turns, snapshot = await turns_until_followed(license_change("large", *largest))
    assert snapshot.counts()["License"] == 1
    assert any(each.name.startswith("aside") for each in threading.enumerate())
    assert turns > 10


async def test_a_license_whose_patterns_are_too_many_leaves_what_was_there_and_lets_others_in() -> None:
    largest = [{"repositories": [f"{n}-{m}-{'*x' * 100}" for m in range(60)]} for n in range(40)]
    _, snapshot = await turns_until_followed(
        license_change("a"), license_change("a", *largest), license_change("b", {"repositories": ["b"]})
    )
    assert snapshot.counts()["License"] == 2


@pytest.mark.parametrize(("uid", "expected"), [("1", 1), ("of-the-next-owner", 0)])
async def test_a_registry_that_cannot_be_read_leaves_the_one_before_if_it_is_the_same(uid: str, expected: int) -> None:
    gone: list[tuple[str, str]] = []

    def change(uid: str, type_: str) -> Change:
        metadata = {"name": "quay", "namespace": APP, "uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z"}
        document = {"apiVersion": "pullgate.dev/v1alpha1", "kind": "Registry", "metadata": metadata}
        return Change(
            Key("Registry", APP, "quay"), {**document, "spec": {"type": type_, "credentials": {"anonymous": {}}}}
        )

    snapshot = Snapshot()
    await follow(Present(change("1", "Quay"), change(uid, "NotKnownYet")), snapshot, gone.append)
    assert snapshot.counts()["Registry"] == expected
    assert len(gone) == 1 - expected


async def test_a_small_document_is_taken_in_before_a_large_one_that_came_first() -> None:
    patterns = [{"repositories": [f"a/{n}-{m}-{'*x' * 9}" for m in range(60)]} for n in range(40)]
    snapshot, small = Snapshot(), license_change("small")
    applied: list[int] = []

    class Watched(Present):
        async def watch(self, kinds: frozenset[str]) -> AsyncIterator[Change | Synced]:
            for each in (license_change("large", *patterns), small):
                yield each
            applied.append(snapshot.counts()["License"])
            yield Synced()

    await follow(Watched(), snapshot, lambda name: None)
    assert applied == [1], "the small one"
    assert snapshot.synced
    assert snapshot.counts()["License"] == 2, "and all before it is ready"
