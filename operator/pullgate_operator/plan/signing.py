"""The keys of Pullgate itself: those that sign the proxy's tokens, license files and test marks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from pullgate.licensing.marks import TEST_KEY_NAME, MarkKey, derive_mark_key, encode_mark_key
from pullgate.providers.handoff import MANAGED_BY, TokenKey, secret_data, secret_document
from pullgate.resources.model import API_VERSION
from pullgate.store.port import Document

ROTATION = timedelta(days=1)
TAIL = timedelta(hours=1)
"""How long a replaced key still verifies: longer than any token lives, with room for clocks that differ."""
OUTAGE = timedelta(days=30)
"""How long the newest key works if nobody replaces it."""

LICENSE_KEY_NAME = "license-signing-key"
KEYS_NAMESPACE = "pullgate-keys"
"""Not the system namespace, whose Secrets the proxy reads: an attacker inside a proxy can sign no license."""


def plan_token_keys(
    keys: Sequence[TokenKey], now: datetime, fresh: Callable[[], bytes]
) -> tuple[tuple[TokenKey, ...], datetime]:
    """The token keys from now on, newest first, and when to ask again. `fresh` gives 32 random bytes."""
    # A key from the future (a clock that was wrong) does not count as new: it stands behind all others.
    valid = (k for k in keys if now < k.not_after)
    live = sorted(valid, key=lambda k: (k.created_at <= now, k.created_at), reverse=True)
    if not live or not live[0].created_at <= now < live[0].created_at + ROTATION:
        secret = fresh()
        key = TokenKey(hashlib.sha256(secret).hexdigest()[:12], secret, now.replace(microsecond=0), now + OUTAGE)
        live = [key, *(replace(k, not_after=min(k.not_after, now + TAIL)) for k in live)]
    return tuple(live), min(live[0].created_at + ROTATION, *(k.not_after for k in live))


def mark_key(keys: Sequence[TokenKey], namespace: str) -> MarkKey | None:
    """The key of the namespace's test marks: of the token key that signs now. None while there is none."""
    return derive_mark_key(keys[0].id, keys[0].key, namespace) if keys else None


def build_mark_key(key: MarkKey, owner: Document) -> Document:
    """The Secret of the namespace's test marks. It goes with `owner`, a License of the namespace."""
    meta = owner["metadata"]
    reference = {"apiVersion": API_VERSION, "kind": "License", "name": meta["name"], "uid": meta["uid"]}
    return secret_document(meta["namespace"], TEST_KEY_NAME, encode_mark_key(key), labels=MANAGED_BY, owner=reference)


def build_license_key(private_pem: str, public_pem: str) -> Document:
    """The Secret of the key that signs license files."""
    data = {"private.pem": private_pem.encode(), "public.pem": public_pem.encode()}
    return secret_document(KEYS_NAMESPACE, LICENSE_KEY_NAME, data, labels=MANAGED_BY)


def read_license_key(document: Document) -> tuple[str, str]:
    """Private and public key, PEM, of that Secret. Raises ValueError."""
    data = secret_data(document)
    if "private.pem" not in data or "public.pem" not in data:
        raise ValueError(f"Secret {LICENSE_KEY_NAME} lacks private.pem or public.pem")
    return data["private.pem"].decode(), data["public.pem"].decode()
