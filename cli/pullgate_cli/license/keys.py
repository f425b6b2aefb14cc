"""The keys of a License, as its status names them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pullgate.resources.fields import parse_time
from pullgate.store.port import Document


def keys_of(document: Document) -> list[dict[str, Any]]:
    """As they stand in the status: the current one first."""
    return list((document.get("status") or {}).get("keys") or ())


def working_keys(document: Document, now: datetime) -> list[str]:
    """The ids of those that are not over at `now`."""
    found = keys_of(document)
    return [
        k["id"] for k in found if "revokedAt" not in k and not ("expiresAt" in k and parse_time(k["expiresAt"]) <= now)
    ]


def state_of(key: dict[str, Any]) -> str:
    """The key's state in words: current, replaced or revoked."""
    if "revokedAt" in key:
        why = f": {key['revokedReason']}" if key.get("revokedReason") else ""
        return f"revoked {key['revokedAt']}{why}"
    if "replacedAt" in key:
        return f"replaced {key['replacedAt']}, ends {key.get('expiresAt', '')}"
    return "current"


def describe_keys(document: Document) -> str:
    """Id and state of each."""
    return ", ".join(f"{key['id']} ({state_of(key)})" for key in keys_of(document)[:10]) or "none yet"
