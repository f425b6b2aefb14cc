"""A cluster as a place."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from pullgate.providers.handoff import SYSTEM_NAMESPACE
from pullgate.store.cluster.api import PAGE, Api, Conflict, Forbidden, Gone, NotConnected
from pullgate.store.cluster.kinds import api_version_of, collection_path, document_path
from pullgate.store.port import Document, Key, StoreUnavailable
from pullgate_cli.place.port import NotThere, PlaceError

_MANAGER = {"fieldManager": "pullgate-cli"}


@contextlib.asynccontextmanager
async def open_cluster(kubeconfig: Path | None, context: str | None, namespace: str | None) -> AsyncIterator[Cluster]:
    """The cluster of a kubeconfig's context. Raises PlaceError."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            api = await stack.enter_async_context(await Api.load(kubeconfig, context=context))
        except NotConnected as error:
            raise PlaceError(f"{error}; or name a folder with --folder") from error
        yield Cluster(api, namespace or api.namespace, context)


class Cluster:
    """See `place.port.Place`."""

    def __init__(self, api: Api, namespace: str, context: str | None) -> None:
        self.api, self.namespace, self._context = api, namespace, context

    @property
    def title(self) -> str:
        """See Place."""
        return f"cluster {self._context or self.api.host}"

    async def list(self, kind: str, namespace: str | None) -> list[Document]:
        """See Place."""
        params, found = {"limit": str(PAGE)}, list[Document]()
        with _explained():
            while True:
                page = await self.api.list_page(collection_path(kind, namespace), params)
                found += [{**item, "kind": kind, "apiVersion": api_version_of(kind)} for item in page["items"]]
                if not page["metadata"].get("continue"):
                    return found
                params = {"limit": str(PAGE), "continue": page["metadata"]["continue"]}

    async def get(self, key: Key) -> Document | None:
        """See Place."""
        with _explained():
            try:
                return await self.api.get(document_path(*key))
            except Forbidden:
                if key.namespace != SYSTEM_NAMESPACE:
                    raise
                return None  # few may look there; what is there is of help, and not needed

    async def fresh(self, key: Key) -> Document | None:
        """See Place."""
        return await self.get(key)

    async def create(self, document: Document) -> str:
        """See Place."""
        metadata = document["metadata"]
        key = Key(document["kind"], metadata.get("namespace") or self.namespace, metadata["name"])
        body = {**document, "metadata": {**metadata, "namespace": key.namespace}}
        try:
            with _explained():
                await self.api.create(f"{collection_path(key.kind, key.namespace)}", body)
        except Conflict as error:
            raise PlaceError(str(error)) from error
        return f"{key.kind} {key.namespace}/{key.name} created"

    async def change(self, key: Key, patch: Mapping[str, Any]) -> str:
        """See Place."""
        try:
            with _explained():
                changed = await self.api.patch(document_path(*key), patch, "application/merge-patch+json", _MANAGER)
        except Conflict as error:
            raise PlaceError(str(error)) from error
        if changed is None:
            raise NotThere(f"there is no {key.kind} {key.name} in {key.namespace}")
        return f"{key.kind} {key.namespace}/{key.name} changed"


@contextlib.contextmanager
def _explained() -> Any:
    try:
        yield
    except Conflict:
        raise
    except (StoreUnavailable, Gone) as error:
        raise PlaceError(str(error)) from error
