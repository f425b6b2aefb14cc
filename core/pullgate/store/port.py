"""The port behind which resources live: a folder (standalone) or a cluster's API server.

Documents are what the API server would show: `apiVersion`, `kind`, `metadata` (with uid, generation and
creationTimestamp), `spec` or `data`, and `status`. They are shared, so nobody alters one; a Secret holds `data`
(base64) only, never `stringData`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol, final

Document = dict[str, Any]

KINDS: Final = frozenset({"Registry", "License", "ImageTest", "Secret", "ConfigMap"})


class Key(NamedTuple):
    """The kind, namespace and name that identify a document."""

    kind: str
    namespace: str
    """Empty for a Namespace, which is in none."""
    name: str

    @classmethod
    def of(cls, document: Document) -> Key:
        """The key of a document as the store holds it."""
        metadata = document["metadata"]
        return cls(document["kind"], metadata.get("namespace", ""), metadata["name"])


@dataclass(frozen=True, slots=True)
class Change:
    """A document that is new or differs (both read the same), or is gone."""

    key: Key
    document: Document | None = field(repr=False)
    """None: deleted."""


@final
class Synced:
    """Comes once in a watch, after every document that was there at its start."""

    __slots__ = ()


class StoreUnavailable(Exception):
    """The store could not be read or written just now; a later try may succeed."""


class Store(Protocol):
    """Read, watch and write. Every write is idempotent: one that changes nothing writes nothing."""

    def watch(self, kinds: frozenset[str]) -> AsyncIterator[Change | Synced]:
        """The present documents, then `Synced`, then each change, for ever.

        A slow reader costs no more than one entry a document: of several changes of one document it sees the last.
        """
        ...

    async def get(self, key: Key) -> Document | None:
        """The document now, or None."""
        ...

    async def list(self, kind: str, namespace: str | None = None) -> list[Document]:
        """All documents of `kind`, of one namespace or of all."""
        ...

    async def fetch(self, key: Key) -> Document | None:
        """The document now, also of a kind that is not watched. Raises StoreUnavailable."""
        ...

    async def gone_since(self, key: Key) -> datetime | None:
        """When a document was deleted, if the store kept that; it keeps the status, too, until `forget`."""
        ...

    async def forget(self, key: Key) -> None:
        """Drop the kept data of a deleted document."""
        ...

    async def patch_status(self, key: Key, status: Mapping[str, Any]) -> None:
        """Put `status` in the place of the document's own; nothing happens when the document is gone."""
        ...

    async def apply_secret(self, document: Document) -> None:
        """Create or replace a Pullgate Secret."""
        ...

    async def delete_secret(self, namespace: str, name: str) -> None:
        """Delete a Pullgate Secret, if it exists."""
        ...

    async def record_event(self, key: Key, type_: str, reason: str, message: str) -> None:
        """Tell people about the document; `type_` is Normal or Warning, `reason` that of a condition."""
        ...

    async def request_token(self, namespace: str, service_account: str, audience: str) -> str:
        """A short-lived token of a ServiceAccount for `audience` (TokenRequest). Raises ExchangeFailed."""
        ...
