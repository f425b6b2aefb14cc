"""The parts of each document that a proxy reads, as lines for later workers: a third of the document's memory."""

from __future__ import annotations

import json
from typing import Any, Final

from pullgate.store.port import Change, Key

_METADATA: Final = ("namespace", "name", "uid", "generation", "creationTimestamp")


def encode_change(change: Change) -> bytes:
    """JSON: kind, namespace, name, and the document without what no proxy reads; null in its place: it is gone."""
    return json.dumps([*change.key, _trimmed(change.document)], separators=(",", ":")).encode()


def read(kind: str, namespace: str, name: str, document: dict[str, Any] | None) -> Change:
    """The change that `encode_change` wrote."""
    return Change(Key(kind, namespace, name), document)


def _trimmed(document: dict[str, Any] | None) -> dict[str, Any] | None:
    if document is None:
        return None
    metadata = document["metadata"]
    kept: dict[str, Any] = {
        name: document[name] for name in ("apiVersion", "kind", "type", "spec", "data") if name in document
    }
    kept["metadata"] = {name: metadata[name] for name in _METADATA if name in metadata}
    status = document.get("status") or {}
    if "keys" in status:
        kept["status"] = {"keys": status["keys"]}
    return kept
