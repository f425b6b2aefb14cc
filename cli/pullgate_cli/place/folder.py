"""A folder as a place: the vendor's YAML, edited where it stands, and what Pullgate keeps below `.pullgate`."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from pullgate.store.files import read_text, write_whole
from pullgate.store.merge import FolderContent
from pullgate.store.port import Document, Key
from pullgate.store.private import PrivateFolder
from pullgate.store.records import complete
from pullgate.store.scan import FolderScanner
from pullgate_cli.place.port import NotThere, PlaceError

APP_KINDS = frozenset({"Registry", "License", "ImageTest"})
"""The kinds whose namespaces are the apps of a folder."""


class Folder:
    """See `place.port.Place`. Another process may serve the folder meanwhile: it takes in what is changed here."""

    def __init__(self, directory: Path, namespace: str | None) -> None:
        self._directory = directory
        self._content = FolderContent()
        self._documents: dict[Key, Document] = {}
        self._read()
        self._named = namespace

    @property
    def namespace(self) -> str:
        """See Place: the one that was named, or that all resources of Pullgate in the folder have."""
        if self._named:
            return self._named
        apps = sorted({key.namespace for key in self._documents if key.kind in APP_KINDS})
        if len(apps) > 1:
            raise PlaceError(f"the folder holds the apps {', '.join(apps[:10])}; name one with -n")
        return apps[0] if apps else "default"

    @property
    def title(self) -> str:
        """See Place."""
        return f"folder {self._directory}"

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems in its files: file, line, field and fix."""
        return tuple(str(problem) for problem in self._content.problems)

    async def list(self, kind: str, namespace: str | None) -> list[Document]:
        """See Place."""
        keys = sorted(k for k in self._documents if k.kind == kind and namespace in {None, k.namespace})
        return [self._documents[key] for key in keys]

    async def get(self, key: Key) -> Document | None:
        """See Place."""
        return self._documents.get(key)

    async def fresh(self, key: Key) -> Document | None:
        """See Place."""
        await asyncio.to_thread(self._refresh)
        return self._documents.get(key)

    async def create(self, document: Document) -> str:
        """See Place: a new file named after the resource."""
        metadata = document["metadata"]
        key = Key(document["kind"], metadata.get("namespace") or self.namespace, metadata["name"])
        path = self._directory / f"{key.namespace}.{key.name}.{key.kind.lower()}.yaml"
        if key in self._documents or path.exists():
            raise PlaceError(f"{key.kind} {key.name} is there already, in {self._file_of(key) or path}")
        body = {**document, "metadata": {**metadata, "namespace": key.namespace}}
        await self._write(path, [body])
        return f"{key.kind} {key.namespace}/{key.name} written to {path}"

    async def change(self, key: Key, patch: Mapping[str, Any]) -> str:
        """See Place: the file keeps its comments and its order."""
        path = self._file_of(key)
        if path is None:
            raise NotThere(f"there is no {key.kind} {key.name} in {key.namespace}")
        text = await asyncio.to_thread(read_text, path)
        documents = list(_yaml().load_all(text))
        for document in documents:
            if _is(document, key):
                merge(document, patch)
        await self._write(path, documents)
        return f"{key.kind} {key.namespace}/{key.name} changed in {path}"

    def _refresh(self) -> None:
        """Read it again. Blocking. Raises PlaceError."""
        self._content, self._documents = FolderContent(), {}
        self._read()

    def served_at(self) -> tuple[str, str]:
        """The URL for customers and HOST:PORT of the admin port, while a process serves it; else two empty texts."""
        return PrivateFolder(self._directory).read_serving() if self.is_served() else ("", "")

    def is_served(self) -> bool:
        """True if a process serves it now."""
        return PrivateFolder(self._directory).is_held()

    # --- files ---

    def _read(self) -> None:
        try:
            changed = FolderScanner(self._directory).scan(at_once=True)
            self._content.update(changed, str(self._directory))
            private = PrivateFolder(self._directory)
            records = private.read_records()
            own = FolderScanner(private.secrets).scan(at_once=True) if private.secrets.is_dir() else {}
        except OSError as error:
            raise PlaceError(f"{self._directory} cannot be read: {error.strerror}") from error
        for content in own.values():
            self._documents.update({k: f.document for k, f in content.documents.items()} if content else {})
        for key, document in self._content.documents.items():
            record = records.get(key)
            shown = record if record is not None and record.document == document else None
            self._documents[key] = complete(key, document, shown)

    def _file_of(self, key: Key) -> Path | None:
        file = self._content.file_of(key)
        return self._directory / file if file else None

    async def _write(self, path: Path, documents: Sequence[Any]) -> None:
        out = io.StringIO()
        _yaml().dump_all(documents, out)
        try:
            await asyncio.to_thread(write_whole, path, out.getvalue())
        except OSError as error:
            raise PlaceError(f"{path} cannot be written: {error.strerror}") from error
        await asyncio.to_thread(self._refresh)


def merge(document: MutableMapping[str, Any], patch: Mapping[str, Any]) -> None:
    """A JSON merge patch (RFC 7396), in place."""
    for name, value in patch.items():
        if value is None:
            document.pop(name, None)
        elif isinstance(value, Mapping):
            if not isinstance(document.get(name), MutableMapping):
                document[name] = {}
            merge(document[name], value)
        else:
            document[name] = value


def _is(document: Any, key: Key) -> bool:
    if not isinstance(document, Mapping) or document.get("kind") != key.kind:
        return False
    metadata = document.get("metadata") or {}
    return (metadata.get("namespace") or "default", metadata.get("name")) == (key.namespace, key.name)


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
