"""A cluster as a Store: what was last seen of it in memory, writes straight to the API server.

Who feeds the memory is no concern of this file: `relist` takes in a whole list, `put` and `remove` one event.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pullgate.store.cluster.api import PAGE, Api
from pullgate.store.cluster.kinds import api_version_of, collection_path, document_path
from pullgate.store.feed import Feeds
from pullgate.store.port import Change, Document, Key, StoreUnavailable, Synced

FIELD_MANAGER: Final = "pullgate"
MESSAGE_LIMIT: Final = 1024
FOREIGN_SECRETS: Final = frozenset({"helm.sh/release.v1", "kubernetes.io/service-account-token"})
"""Types of Secrets that no Registry can refer to: large, many, and never kept in memory."""

log = logging.getLogger(__name__)


class ClusterStore:
    """See `pullgate.store.port.Store`."""

    def __init__(self, api: Api, scopes: Mapping[str, str | None], component: str) -> None:
        """`scopes`: each kind that is kept, and its one namespace; None is all. `component` writes the events."""
        self._api, self._scopes, self._component = api, dict(scopes), component
        self._documents: defaultdict[str, dict[Key, Document]] = defaultdict(dict)
        self._listed = {kind: asyncio.Event() for kind in scopes}
        self._feeds = Feeds()

    # --- taking in ---

    def path_of(self, kind: str) -> str:
        """Where `kind` is listed and watched."""
        return collection_path(kind, self._scopes[kind])

    async def relist(self, kind: str) -> tuple[str, int]:
        """Take in all documents of `kind`. Returns the list's resource version and how many had changed unseen.

        Raises Gone, StoreUnavailable.
        """
        params, seen, changes = {"limit": str(PAGE)}, set[Key](), 0
        while True:
            page = await self._api.list_page(self.path_of(kind), params)
            for item in page["items"]:
                item["apiVersion"], item["kind"] = api_version_of(kind), kind
                seen.add(_key(item))
                changes += self.put(item)
            if not page["metadata"].get("continue"):
                break
            params = {"limit": str(PAGE), "continue": page["metadata"]["continue"]}
        version = str(page["metadata"]["resourceVersion"])
        for key, document in list(self._documents[kind].items()):
            # What is newer than the list came by a watch meanwhile.
            if key not in seen and _version(document) <= int(version):
                changes += self.remove(document)
        self._listed[kind].set()
        return version, changes

    def put(self, document: Document) -> bool:
        """Take in a document; whether it is news."""
        if document.get("type") in FOREIGN_SECRETS:
            return False
        key = _key(document)
        before = self._documents[key.kind].get(key)
        if before is not None and _version(before) >= _version(document):
            return False
        document["metadata"].pop("managedFields", None)
        self._documents[key.kind][key] = document
        self._feeds.publish(key, document)
        return True

    def remove(self, document: Document) -> bool:
        """Take in that `document` (as it was last) is gone; whether that is news."""
        key = _key(document)
        before = self._documents[key.kind].get(key)
        if before is None or _version(before) > _version(document):
            return False
        del self._documents[key.kind][key]
        self._feeds.publish(key, None)
        return True

    # --- pullgate.store.port.Store ---

    async def watch(self, kinds: frozenset[str]) -> AsyncIterator[Change | Synced]:
        """See `Store.watch`; nothing is told before the first full lists are in."""
        for kind in kinds:
            await self._listed[kind].wait()

        def present() -> Iterator[tuple[Key, Document]]:
            for kind in kinds:
                yield from self._documents[kind].items()

        async for change in self._feeds.watch(kinds, present):
            yield change

    async def get(self, key: Key) -> Document | None:
        """See `Store.get`."""
        return self._documents[key.kind].get(key)

    async def list(self, kind: str, namespace: str | None = None) -> list[Document]:
        """See `Store.list`."""
        return [d for k, d in self._documents[kind].items() if namespace is None or k.namespace == namespace]

    async def patch_status(self, key: Key, status: Mapping[str, Any]) -> None:
        """See `Store.patch_status`. Raises Conflict where the document is another than the one last seen."""
        before = self._documents[key.kind].get(key)
        if before is None:
            return
        patch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": before["metadata"]["resourceVersion"]},
            {"op": "add", "path": "/status", "value": dict(status)},
        ]
        path = f"{document_path(*key)}/status"
        self._take(await self._api.patch(path, patch, "application/json-patch+json", _MANAGED))

    async def apply_secret(self, document: Document) -> None:
        """See `Store.apply_secret`: server-side apply, so labels and annotations of others stay."""
        path = document_path(*_key(document))
        params = {**_MANAGED, "force": "true"}
        applied = await self._api.patch(path, document, "application/apply-patch+yaml", params)
        if applied is None:
            raise StoreUnavailable(f"there is no namespace {document['metadata']['namespace']}; apply deploy/ again")
        self._take(applied)

    async def delete_secret(self, namespace: str, name: str) -> None:
        """See `Store.delete_secret`."""
        await self._api.delete(document_path("Secret", namespace, name))
        gone = self._documents["Secret"].pop(Key("Secret", namespace, name), None)
        if gone is not None:
            self._feeds.publish(_key(gone), None)

    async def record_event(self, key: Key, type_: str, reason: str, message: str) -> None:
        """See `Store.record_event`."""
        document = self._documents[key.kind].get(key)
        if document is not None:
            event = _event(document, self._component, type_, reason, message)
            await self._api.create(f"/api/v1/namespaces/{key.namespace}/events", event)

    def _take(self, document: Document | None) -> None:
        """What a write of ours made of a document is known at once, and is no news to who wrote it."""
        if document is None:
            return
        key = _key(document)
        before = self._documents[key.kind].get(key)
        if before is None or _version(before) < _version(document):
            document["metadata"].pop("managedFields", None)
            self._documents[key.kind][key] = document


_MANAGED: Final = {"fieldManager": FIELD_MANAGER}


def _key(document: Document) -> Key:
    metadata = document["metadata"]
    return Key(document["kind"], metadata["namespace"], metadata["name"])


def _version(document: Document) -> int:
    """Resource versions of one kind are comparable as numbers (KEP-5504)."""
    return int(document["metadata"]["resourceVersion"])


def _event(document: Document, component: str, type_: str, reason: str, message: str) -> dict[str, Any]:
    metadata = document["metadata"]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": document["apiVersion"],
            "kind": document["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "type": type_,
        "reason": reason,
        "message": message[:MESSAGE_LIMIT],
        "source": {"component": component},
        "reportingComponent": f"pullgate.dev/{component}",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
