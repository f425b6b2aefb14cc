"""Make a plan true: write what differs, nothing else."""

from __future__ import annotations

from typing import Any

from pullgate.clean_text import clean
from pullgate.store.port import Document, Key, Store
from pullgate_operator.plan.outcome import Plan


async def apply_plan(store: Store, key: Key, document: Document, plan: Plan) -> None:
    """Secrets, then the status that speaks of them, then events. Raises StoreUnavailable."""
    for secret in plan.secrets:
        await apply_secret(store, secret)
    for namespace, name in plan.unwanted:
        if await store.get(Key("Secret", namespace, name)) is not None:
            await store.delete_secret(namespace, name)
    if _plain(plan.status) != _plain(document.get("status") or {}):
        await store.patch_status(key, plan.status)
    for event in plan.events:
        await store.record_event(key, event.type, event.reason, clean(event.message))


async def apply_secret(store: Store, secret: Document) -> None:
    """Apply the Secret unless data, type, owners and our labels already match."""
    before = await store.get(Key.of(secret))
    if before is None or not _says(before, secret):
        await store.apply_secret(secret)


def _says(before: Document, secret: Document) -> bool:
    labels = before["metadata"].get("labels") or {}
    return (
        before.get("data") == secret["data"]
        and before.get("type") == secret["type"]
        and _owners(before) >= _owners(secret)
        and all(labels.get(name) == value for name, value in secret["metadata"]["labels"].items())
    )


def _owners(document: Document) -> set[str]:
    return {owner["uid"] for owner in document["metadata"].get("ownerReferences") or ()}


def _plain(value: Any) -> Any:
    """`value` with tuples as lists, as JSON has them."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
