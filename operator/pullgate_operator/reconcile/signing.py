"""Pullgate's own keys: made once, kept in the system namespace, replaced in time."""

from __future__ import annotations

import asyncio
import logging
import secrets
from datetime import datetime

from pullgate.licensing.license_file import new_signing_key, public_pem
from pullgate.licensing.marks import TEST_KEY_NAME, Marker
from pullgate.providers.handoff import (
    SIGNING_KEYS_NAME,
    SYSTEM_NAMESPACE,
    TokenKey,
    decode_signing_keys,
    encode_signing_keys,
)
from pullgate.store.port import Document, Key, Store
from pullgate_operator.plan.license import is_ours
from pullgate_operator.plan.signing import (
    KEYS_NAMESPACE,
    LICENSE_KEY_NAME,
    build_license_key,
    build_mark_key,
    mark_key,
    plan_token_keys,
    read_license_key,
)
from pullgate_operator.reconcile.apply import apply_secret
from pullgate_operator.reconcile.settings import Clock

TOKEN_KEYS = Key("Secret", SYSTEM_NAMESPACE, SIGNING_KEYS_NAME)
LICENSE_KEY = Key("Secret", KEYS_NAMESPACE, LICENSE_KEY_NAME)

log = logging.getLogger(__name__)


async def fetch_token_keys(store: Store) -> tuple[TokenKey, ...]:
    """The keys of the proxy's tokens, the one that signs first; none while they cannot be read."""
    document = await store.get(TOKEN_KEYS)
    try:
        return decode_signing_keys(document) if document is not None else ()
    except ValueError:
        return ()


async def build_marker(store: Store, namespace: str, license_name: str) -> Marker | None:
    """Marks the requests of a test as this License; None while there is no key for it."""
    key = mark_key(await fetch_token_keys(store), namespace)
    return Marker(key, namespace, license_name) if key is not None else None


class SigningReconciler:
    """The Secrets of `plan.signing`."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._making = asyncio.Lock()

    async def reconcile_token_keys(self) -> datetime:
        """Make, replace and retire the keys of the proxy's tokens; returns when to come again."""
        document = await self._read(TOKEN_KEYS)
        keys: tuple[TokenKey, ...] = ()
        if document is not None:
            try:
                keys = decode_signing_keys(document)
            except ValueError as error:
                log.warning("the keys of the proxy's tokens are made anew: %s", error)
        keys, due = plan_token_keys(keys, self._clock(), lambda: secrets.token_bytes(32))
        await apply_secret(self._store, encode_signing_keys(keys))
        return due

    async def reconcile_mark_key(self, namespace: str, owner: Key | None) -> None:
        """Keep the Secret of the namespace's test marks; delete it if there is no License (`owner`) any more.

        When the owner goes, the cluster deletes the Secret and it is made again for the next one. A Secret of that
        name which somebody else made stays as it is.
        """
        key = Key("Secret", namespace, TEST_KEY_NAME)
        before = await self._store.get(key)
        if before is not None and not is_ours(before):
            return
        if owner is None:
            if before is not None:
                await self._store.delete_secret(namespace, TEST_KEY_NAME)
            return
        license_ = await self._store.get(owner)
        found = mark_key(await fetch_token_keys(self._store), namespace)
        if found is not None and license_ is not None:
            await apply_secret(self._store, build_mark_key(found, license_))

    async def fetch_license_key(self) -> tuple[str, str]:
        """The private and public key, PEM, that license files are signed with; made where there is none.

        Raises ValueError for a Secret that holds none: to replace it would make every license file unverifiable, so a
        person must decide.
        """
        document = await self._store.get(LICENSE_KEY)
        if document is None:
            async with self._making:
                document = await self._read(LICENSE_KEY) or await self._make_license_key()
        return read_license_key(document)

    async def _read(self, key: Key) -> Document | None:
        """The Secret; a missing one is looked for in the store itself, for what is in memory came by a watch."""
        return await self._store.get(key) or await self._store.fetch(key)

    async def _make_license_key(self) -> Document:
        licenses = await self._store.list("License")
        if any((document.get("status") or {}).get("keys") for document in licenses):
            log.warning(
                "Secret %s/%s is gone: license files are signed with a new key, and those that customers have verify "
                "with the old public key only; put the Secret back from your backup",
                *LICENSE_KEY[1:],
            )
        private = new_signing_key()
        document = build_license_key(private, public_pem(private))
        await self._store.apply_secret(document)
        return document
