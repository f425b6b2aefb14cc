"""A cluster as a Store: the last seen documents in memory, writes straight to the API server.

The caller feeds the memory: `relist` takes in a whole list, `take` one event.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pullgate.providers.exchange import ExchangeFailed
from pullgate.resources.fields import format_time
from pullgate.store.cluster.api import PAGE, Api, Forbidden, Missing
from pullgate.store.cluster.kinds import api_version_of, collection_path, document_path
from pullgate.store.feed import Feeds
from pullgate.store.port import Change, Document, Key, StoreUnavailable, Synced

FIELD_MANAGER: Final = "pullgate"
MESSAGE_LIMIT: Final = 1024
TOKEN_SECONDS: Final = 600
"""Lifetime of a ServiceAccount's token: it is shown to a cloud at once. The API server gives no shorter one."""
FOREIGN_SECRETS: Final = frozenset({"helm.sh/release.v1", "kubernetes.io/service-account-token"})
"""Types of Secrets that no Registry can refer to: large, many, and never kept in memory."""


class ClusterStore:
    """See `pullgate.store.port.Store`."""

    def __init__(self, api: Api, scopes: Mapping[str, str | None], component: str, *, lean: bool = False) -> None:
        """`scopes`: each kind that is kept, and its one namespace; None is all. `component` writes the events.

        A `lean` store keeps names and versions only, in a tenth of the memory. Its one watcher starts before the first
        list and keeps the parts of documents that it needs; `get` and `list` return no content.
        """
        self._api, self._scopes, self._component, self._lean = api, dict(scopes), component, lean
        self._documents: defaultdict[str, dict[Key, Document]] = defaultdict(dict)
        self._listed = {kind: asyncio.Event() for kind in scopes}
        self._foreign: set[Key] = set()
        """Secrets that are not kept."""
        self._feeds = Feeds()

    # --- taking in ---

    def path_of(self, kind: str) -> str:
        """The path to list and watch `kind`."""
        return collection_path(kind, self._scopes[kind])

    async def relist(self, kind: str) -> tuple[str, int]:
        """Take in all documents of `kind`. Returns the list's resource version and how many had changed unseen.

        Raises Gone, StoreUnavailable.
        """
        params, seen, changes = {"limit": str(PAGE)}, set[Key](), 0
        while True:
            page = await self._api.list_page(self.path_of(kind), params)
            for item in page.get("items") or ():
                changes += self.take("ADDED", kind, item)
                seen.add(Key.of(item))
            if not page["metadata"].get("continue"):
                break
            params = {"limit": str(PAGE), "continue": page["metadata"]["continue"]}
        version = str(page["metadata"]["resourceVersion"])
        for key, document in list(self._documents[kind].items()):
            # A document newer than the list came by a watch meanwhile.
            if key not in seen and _version(document) <= int(version):
                changes += self._remove(document)
        self._listed[kind].set()
        self._feeds.publish(_listed_mark(kind), None)
        return version, changes

    def do_without(self, kind: str) -> None:
        """The API server does not know `kind`: its watchers do not wait for a list."""
        self._listed[kind].set()

    async def audit(self, kind: str) -> int:
        """Compare the kept versions with the API server's; if they differ, take in the whole list.

        Returns how many had changed unseen. Raises Gone, StoreUnavailable.
        """
        params, versions = {"limit": str(PAGE)}, dict[Key, str]()
        while True:
            page = await self._api.list_page(self.path_of(kind), params, metadata_only=True)
            for item in page.get("items") or ():  # null if there is none
                metadata = item["metadata"]
                versions[Key(kind, metadata.get("namespace", ""), metadata["name"])] = metadata["resourceVersion"]
            if not page["metadata"].get("continue"):
                break
            params = {"limit": str(PAGE), "continue": page["metadata"]["continue"]}
        kept = {key: document["metadata"]["resourceVersion"] for key, document in self._documents[kind].items()}
        known = {key: version for key, version in versions.items() if key not in self._foreign}
        return 0 if kept == known else (await self.relist(kind))[1]

    def take(self, type_: str | None, kind: str, document: Document) -> bool:
        """Take in an event of a watch: its type, and the document as it is or last was. Returns True if it is news."""
        # The items of a list lack what the list says for all of them.
        document["apiVersion"], document["kind"] = api_version_of(kind), kind
        if type_ == "DELETED":
            self._foreign.discard(Key.of(document))
            return self._remove(document)
        if document.get("type") in FOREIGN_SECRETS:
            self._foreign.add(Key.of(document))
            return False
        if not self._keep(document):
            return False
        self._feeds.publish(Key.of(document), document)
        return True

    def _keep(self, document: Document) -> bool:
        """Keep `document` if it is newer than the kept one. Returns True if it is."""
        key = Key.of(document)
        before = self._documents[key.kind].get(key)
        if before is not None and _version(before) >= _version(document):
            return False
        document["metadata"].pop("managedFields", None)
        self._documents[key.kind][key] = _stub(document) if self._lean else document
        return True

    def _remove(self, document: Document) -> bool:
        key = Key.of(document)
        before = self._documents[key.kind].get(key)
        if before is None or _version(before) > _version(document):
            return False
        del self._documents[key.kind][key]
        self._feeds.publish(key, None)
        return True

    # --- pullgate.store.port.Store ---

    async def watch(self, kinds: frozenset[str]) -> AsyncIterator[Change | Synced]:
        """See `Store.watch`; yields nothing before the first full lists are in, unless the store is lean."""
        if self._lean:
            async for change in self._watch_lists(kinds):
                yield change
            return
        for kind in kinds:
            await self._listed[kind].wait()

        def present() -> Iterator[tuple[Key, Document]]:
            for kind in kinds:
                yield from self._documents[kind].items()

        async for change in self._feeds.watch(kinds, present):
            if isinstance(change, Synced) or change.key.name:
                yield change

    async def _watch_lists(self, kinds: frozenset[str]) -> AsyncIterator[Change | Synced]:
        """Each document as its list or watch brings it; Synced once all lists are in."""
        missing: set[str] | None = set(kinds)
        async for change in self._feeds.watch(kinds, dict[Key, Document]().items):
            if isinstance(change, Synced):
                continue
            if change.key.name:
                yield change
            elif missing is not None:
                missing.discard(change.key.kind)
                if not missing:
                    missing = None
                    yield Synced()

    async def get(self, key: Key) -> Document | None:
        """See `Store.get`."""
        return self._documents[key.kind].get(key)

    async def list(self, kind: str, namespace: str | None = None) -> list[Document]:
        """See `Store.list`."""
        return [d for k, d in self._documents[kind].items() if namespace is None or k.namespace == namespace]

    async def fetch(self, key: Key) -> Document | None:
        """See `Store.fetch`."""
        return await self._api.get(document_path(*key))

    async def gone_since(self, key: Key) -> datetime | None:
        """See `Store.gone_since`: a cluster keeps nothing of a deleted document."""
        return None

    async def forget(self, key: Key) -> None:
        """See `Store.forget`."""

    async def patch_status(self, key: Key, status: Mapping[str, Any]) -> None:
        """See `Store.patch_status`. Raises Conflict if the document is not the one last seen."""
        before = self._documents[key.kind].get(key)
        if before is None:
            return
        patch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": before["metadata"]["resourceVersion"]},
            {"op": "add", "path": "/status", "value": dict(status)},
        ]
        path = f"{document_path(*key)}/status"
        written = await self._api.patch(path, patch, "application/json-patch+json", _MANAGED)
        if written is not None:
            self._keep(written)  # no news to who wrote it

    async def apply_secret(self, document: Document) -> None:
        """See `Store.apply_secret`: server-side apply, so labels and annotations of others stay."""
        path = document_path(*Key.of(document))
        params = {**_MANAGED, "force": "true"}
        applied = await self._api.patch(path, document, "application/apply-patch+yaml", params)
        if applied is None:
            raise StoreUnavailable(f"there is no namespace {document['metadata']['namespace']}; apply deploy/ again")
        self._keep(applied)  # no news to who wrote it

    async def delete_secret(self, namespace: str, name: str) -> None:
        """See `Store.delete_secret`."""
        await self._api.delete(document_path("Secret", namespace, name))
        gone = self._documents["Secret"].pop(Key("Secret", namespace, name), None)
        if gone is not None:
            self._feeds.publish(Key.of(gone), None)

    async def record_event(self, key: Key, type_: str, reason: str, message: str) -> None:
        """See `Store.record_event`."""
        document = self._documents[key.kind].get(key)
        if document is not None:
            event = _event(document, self._component, type_, reason, message)
            await self._api.create(f"/api/v1/namespaces/{key.namespace}/events", event)

    async def request_token(self, namespace: str, service_account: str, audience: str) -> str:
        """See `Store.request_token`."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": TOKEN_SECONDS},
        }
        whose = f"ServiceAccount {service_account} of {namespace}"
        try:
            answered = await self._api.create(path, request)
            return str(answered["status"]["token"])
        except Forbidden:
            fix = f"let it by a Role in {namespace}, as `pullgate registry guide` prints it"
            raise ExchangeFailed("IdentityMissing", f"the operator may not ask for tokens of {whose}", fix) from None
        except Missing:
            raise ExchangeFailed("IdentityMissing", f"there is no {whose}", "create it") from None
        except StoreUnavailable as error:
            raise ExchangeFailed("ExchangeUnreachable", str(error), "it is tried again") from None
        except KeyError:
            raise ExchangeFailed("ExchangeError", f"Kubernetes gave no token of {whose}", "look at its log") from None


def _listed_mark(kind: str) -> Key:
    """The mark that follows a list's documents: it tells watchers that the whole list is in."""
    return Key(kind, "", "")


def _stub(document: Document) -> Document:
    """The name and version of `document`, to see if another is newer."""
    metadata = document["metadata"]
    kept = {name: metadata[name] for name in ("name", "namespace", "resourceVersion") if name in metadata}
    return {"kind": document["kind"], "metadata": kept}


_MANAGED: Final = {"fieldManager": FIELD_MANAGER}


def _version(document: Document) -> int:
    """Resource versions of one kind are comparable as numbers (KEP-5504)."""
    return int(document["metadata"]["resourceVersion"])


def _event(document: Document, component: str, type_: str, reason: str, message: str) -> dict[str, Any]:
    metadata = document["metadata"]
    now = format_time(datetime.now(UTC))
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
