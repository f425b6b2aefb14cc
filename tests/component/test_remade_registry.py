"""A Registry that was deleted and made again, maybe by its namespace's next owner, has nothing of the one before."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pullgate.store.folder import FolderStore
from pullgate.store.port import Key
from pullgate_operator.reconcile.loop import Reconciler
from pullgate_operator.reconcile.settings import ReconcileSettings
from tests.support.folder import condition, eventually
from tests.support.gate import APP, Document, registry, running
from tests.support.ports import free_port

UP = Key("Registry", APP, "up")
HANDOFF = Key("Secret", "pullgate-system", f"registry.{APP}.up")


class RemadeStore(FolderStore):
    """Shows the Registry as a cluster does that the operator did not look at meanwhile: another one, and invalid."""

    uid = ""

    async def get(self, key: Key) -> Document | None:
        """See Store."""
        document = await super().get(key)
        return self._remade(document) if document is not None and key == UP else document

    async def list(self, kind: str, namespace: str | None = None) -> list[Document]:
        """See Store."""
        return [self._remade(d) if Key.of(d) == UP else d for d in await super().list(kind, namespace)]

    def _remade(self, document: Document) -> Document:
        metadata = {**document["metadata"], **({"uid": self.uid} if self.uid else {})}
        return {**document, "metadata": metadata, "spec": {**document["spec"], "type": "NotKnownYet"}}


async def handed_over_after_a_restart(directory: Path, uid: str) -> bool:
    """True if the handoff is still there once an operator refused the Registry, whose uid is now `uid` (or as was)."""
    async with running(directory, registry("up", f"127.0.0.1:{free_port()}")):
        pass
    store = RemadeStore(directory)
    store.uid = uid
    await store.start()
    reconciler = Reconciler(store, ReconcileSettings("https://images.example.com"))
    task = asyncio.create_task(reconciler.run())
    try:

        async def refused() -> bool:
            found = condition(await store.get(UP), "Ready").get("reason")
            return found == "InvalidSpec" and reconciler.settled

        await eventually(refused)
        return await store.get(HANDOFF) is not None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.stop()


async def test_what_was_handed_over_is_withdrawn_from_another_registry_of_the_name_that_cannot_be_read(
    tmp_path: Path,
) -> None:
    assert await handed_over_after_a_restart(tmp_path / "same", "")
    assert not await handed_over_after_a_restart(tmp_path / "another", "of-the-next-owner")
