"""The records of who holds which custom domain: Secrets of the system namespace, as the claims say now."""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakValueDictionary

from pullgate.providers.domain_claim import claim_name, decode_claim, encode_claim
from pullgate.providers.handoff import SYSTEM_NAMESPACE
from pullgate.store.port import Document, Store
from pullgate_operator.plan.claims import Claims, Name
from pullgate_operator.reconcile.apply import apply_secret
from pullgate_operator.reconcile.settings import Clock

log = logging.getLogger(__name__)


class DomainRecords:
    """Writes the records, one write of a domain at a time."""

    def __init__(self, store: Store, claims: Claims, clock: Clock) -> None:
        self._store, self._claims, self._clock = store, claims, clock
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def settle(self, name: Name) -> None:
        """Bring the records of the domains that a Registry lists or held up to date. Raises StoreUnavailable.

        The Registry may be gone. The record of a domain that it gave up is written for the next one, or removed.
        """
        for domain in self._claims.domains_about(name):
            lock = self._locks.setdefault(domain, asyncio.Lock())
            async with lock:
                await self._write(domain)

    def take(self, domain: str, document: Document | None) -> set[Name]:
        """Take in a record as it stands in the store; returns the Registries that are to be looked at again.

        One that a person deleted or broke stays in force, and is written again.
        """
        try:
            record = decode_claim(document) if document is not None else None
        except ValueError as error:
            log.warning("Secret %s is written again: %s", claim_name(domain), error)
            record = None
        if record is not None:
            return self._claims.put_record(record)
        known = self._claims.record(domain)
        return {known.registry} if known is not None else self._claims.listing(domain)

    async def _write(self, domain: str) -> None:
        """The new holder is noted before it is written: an older Registry that comes meanwhile is too late."""
        record = self._claims.next_record(domain, self._clock())
        if record is not None:
            self._claims.put_record(record)
            await apply_secret(self._store, encode_claim(record))
        elif self._claims.record(domain) is not None:
            await self._store.delete_secret(SYSTEM_NAMESPACE, claim_name(domain))
            if self._claims.holder(domain) is None:
                self._claims.drop_record(domain)
