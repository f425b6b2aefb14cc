"""The fields that an API server would add to a resource of the folder: uid, generation, creation time, status. Pure."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import yaml

from pullgate.resources.fields import format_time, parse_time
from pullgate.store.documents import load_yaml
from pullgate.store.port import Document, Key

Status = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """A resource as it was last good, with its status. Kept below .pullgate/status, so that it outlives a restart."""

    uid: str
    generation: int
    created: str
    file: str
    """The file that holds it, relative to the folder."""
    document: Document
    """As the vendor wrote it."""
    status: Status
    gone: str = ""
    """Since when (RFC 3339) no file holds it. It is kept for its keys, and shown to nobody."""

    def with_status(self, status: Status) -> Record:
        """The same resource with another status."""
        return replace(self, status=json.loads(json.dumps(status)))


def next_record(before: Record | None, document: Document, file: str, now: datetime) -> Record:
    """The record of a resource as it is written now: a new spec is a new generation.

    One that was gone is the same again, with its keys, unless it is for another customer now.
    """
    if before is None or (before.gone and _customer(before.document) != _customer(document)):
        return Record(str(uuid.uuid4()), 1, format_time(now), file, document, {})
    if before.document == document and before.file == file and not before.gone:
        return before
    step = 0 if before.document.get("spec") == document.get("spec") else 1
    return replace(before, generation=before.generation + step, document=document, file=file, gone="")


def _customer(document: Document) -> object:
    return (document["spec"].get("customer") or {}).get("id")


def complete(key: Key, document: Document, record: Record | None) -> Document:
    """The document as an API server would show it."""
    metadata = {**document["metadata"], "namespace": key.namespace}
    if record is None:
        return {**document, "metadata": metadata}
    metadata |= {"uid": record.uid, "generation": record.generation, "creationTimestamp": record.created}
    return {**document, "metadata": metadata, "status": record.status}


def encode_record(key: Key, record: Record) -> str:
    """The file's text; a person may read it like `kubectl get -o yaml`."""
    shown = complete(key, record.document, record)
    head = f"# Written by Pullgate; the resource itself is in {json.dumps(record.file)}.\n"
    kept = {"file": record.file} | ({"gone": record.gone} if record.gone else {})
    return head + yaml.safe_dump({**shown, **kept}, sort_keys=False, allow_unicode=True, width=1000)


def decode_record(text: str) -> tuple[Key, Record]:
    """Read what `encode_record` wrote. Raises ValueError."""
    try:
        body = load_yaml(text)
        file, status, gone = str(body.pop("file")), body.pop("status") or {}, str(body.pop("gone", ""))
        if gone:
            parse_time(gone)
        given = dict(body["metadata"])
        uid, generation, created = (given.pop(name) for name in ("uid", "generation", "creationTimestamp"))
        key = Key(str(body["kind"]), str(given["namespace"]), str(given["name"]))
        document = {**body, "metadata": given}
        return key, Record(str(uid), int(generation), str(created), file, document, status, gone)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(f"not a record: {type(error).__name__}") from None
