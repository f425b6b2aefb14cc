"""Keep the snapshot up to date from a Store: one change in, one entry altered.

A document that cannot be read is said in the log and leaves the last good entry: a later version of it may be right.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Protocol

from pullgate.providers.domain_claim import claimed_domain, decode_claim
from pullgate.providers.handoff import (
    SIGNING_KEYS_NAME,
    SYSTEM_NAMESPACE,
    decode_handoff,
    decode_signing_keys,
    handoff_target,
)
from pullgate.resources import InvalidResource, License, Registry, parse_resource
from pullgate.resources.compile import license_facts, registry_facts, registry_hosts
from pullgate.resources.fields import later
from pullgate.resources.license import KeysSpec, KeyStatus
from pullgate.store.port import Change, Key, Synced
from pullgate.turns import DOCUMENT_INLINE, Pauses, in_thread, weigh
from pullgate.upstream.compile import upstream_config
from pullgate_proxy.state.large import LargeChanges
from pullgate_proxy.state.snapshot import KeyFacts, Name, RegistryEntry, Snapshot
from pullgate_proxy.state.tokens import SigningKey, SigningKeys

KINDS = frozenset({"Registry", "License", "Secret"})

log = logging.getLogger(__name__)


class Watched(Protocol):
    """The part of a Store that the proxy needs."""

    def watch(self, kinds: frozenset[str]) -> AsyncIterator[Change | Synced]:
        """See Store."""
        ...


async def follow(store: Watched, snapshot: Snapshot, on_registry_gone: Callable[[Name], None]) -> None:
    """Apply every change of `store` to `snapshot` until cancelled; what takes long to read delays no other document."""
    pauses, large = Pauses(), LargeChanges(partial(_read_beside, snapshot, on_registry_gone))
    try:
        async for change in store.watch(KINDS):
            if isinstance(change, Synced):
                await large.settle()
                snapshot.synced = True
                continue
            large.drop(change.key)
            if weigh(change.document) > DOCUMENT_INLINE:
                large.put(change)
            else:
                _read(snapshot, on_registry_gone, change)()
            if change.key.kind == "Registry" and change.document is None:
                on_registry_gone((change.key.namespace, change.key.name))
            await pauses.give()
    finally:
        large.stop()


async def _read_beside(
    snapshot: Snapshot, on_registry_gone: Callable[[Name], None], change: Change
) -> Callable[[], None]:
    return await in_thread(partial(_read, snapshot, on_registry_gone, change))


def _read(snapshot: Snapshot, on_registry_gone: Callable[[Name], None], change: Change) -> Callable[[], None]:
    """The call that applies the change, or says why its document cannot be read."""
    try:
        apply = read_change(change)
    except (InvalidResource, ValueError, KeyError) as error:
        return partial(_leave_as_it_was, snapshot, on_registry_gone, change, error)
    return partial(_apply, change.key, apply, snapshot)


def _apply(key: Key, apply: Callable[[Snapshot], None], snapshot: Snapshot) -> None:
    try:
        apply(snapshot)
    except (InvalidResource, ValueError, KeyError) as error:
        _say_left(key, error)


def _leave_as_it_was(
    snapshot: Snapshot, on_registry_gone: Callable[[Name], None], change: Change, error: Exception
) -> None:
    _say_left(change.key, error)
    if _is_another(change, snapshot):
        on_registry_gone((change.key.namespace, change.key.name))


def _say_left(key: Key, error: Exception) -> None:
    log.warning("%s %s/%s is left as it was: %s", key.kind, key.namespace, key.name, error)


def _is_another(change: Change, snapshot: Snapshot) -> bool:
    """True if what cannot be read is not the Registry that was known by its name: that one is removed.

    It was deleted and made again, maybe by the next owner of its namespace, while nobody looked.
    """
    if change.key.kind != "Registry" or change.document is None:
        return False
    uid = str(change.document["metadata"].get("uid", ""))
    return snapshot.remove_predecessor((change.key.namespace, change.key.name), uid)


def apply_change(change: Change, snapshot: Snapshot) -> None:
    """Alter the one entry that `change` is about. Raises InvalidResource, ValueError, KeyError."""
    read_change(change)(snapshot)


def read_change(change: Change) -> Callable[[Snapshot], None]:
    """A call that alters the entry of `change`. All that takes long is done before: call this in a thread if it may.

    Raises InvalidResource, ValueError, KeyError.
    """
    key, document = change.key, change.document
    name = (key.namespace, key.name)
    match key.kind:
        case "License":
            return _read_license(document) if document is not None else lambda snapshot: snapshot.remove_license(name)
        case "Registry":
            return _read_registry(document) if document is not None else lambda snapshot: snapshot.remove_registry(name)
        case "Secret" if key.namespace == SYSTEM_NAMESPACE:
            return _read_secret(key, document)
        case _:
            return _leave


def _leave(_: Snapshot) -> None:
    """Nothing changes."""


def _read_license(document: dict[str, Any]) -> Callable[[Snapshot], None]:
    resource = parse_resource(document)
    if not isinstance(resource, License):
        return _leave
    facts, keys = license_facts(resource), read_keys(resource)
    return lambda snapshot: snapshot.put_license(facts, keys)


def read_keys(resource: License) -> tuple[KeyFacts, ...]:
    """The keys that the License's status names, current and replaced ones.

    The spec's `revoked` and `overlap` apply at once, before the operator has written them to the status.
    """
    return tuple(_read_key(resource.spec.keys, key) for key in resource.status.keys)


def _read_key(spec: KeysSpec, key: KeyStatus) -> KeyFacts:
    digest = bytes.fromhex(key.digest.removeprefix("sha256:"))
    if key.revoked_at is not None or key.id in spec.revoked:
        since = key.revoked_at.timestamp() if key.revoked_at is not None else None
        return KeyFacts(digest, since, key.revoked_reason or "")
    ends = key.expires_at or key.replaced_at
    if ends is not None and key.replaced_at is not None:
        ends = min(ends, later(key.replaced_at, spec.overlap))
    return KeyFacts(digest, ends.timestamp() if ends else None)


def _read_registry(document: dict[str, Any]) -> Callable[[Snapshot], None]:
    resource = parse_resource(document)
    if not isinstance(resource, Registry):
        return _leave
    created, uid = str(document["metadata"].get("creationTimestamp", "")), resource.metadata.uid
    facts, config = registry_facts(resource), upstream_config(resource, ())
    entry = RegistryEntry(facts, config, created, registry_hosts(resource), uid)
    return lambda snapshot: snapshot.put_registry(entry)


def _read_secret(key: Key, document: dict[str, Any] | None) -> Callable[[Snapshot], None]:
    if key.name == SIGNING_KEYS_NAME:
        rows = decode_signing_keys(document) if document else ()
        keys = SigningKeys(tuple(SigningKey(k.id, k.key, k.not_after.timestamp()) for k in rows))
        return lambda snapshot: setattr(snapshot, "signing_keys", keys)
    domain = claimed_domain(key.name)
    if domain is not None:
        claim = decode_claim(document) if document else None
        return lambda snapshot: snapshot.put_claim(domain, claim)
    target = handoff_target(key.name)
    if target is None:
        return _leave
    handoff = decode_handoff(document) if document else None
    return lambda snapshot: snapshot.put_handoff(target, handoff)
