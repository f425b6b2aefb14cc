"""Keeps a ClusterStore up to date: list once, then watch; list again only if the version is too old (410)."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass, field

from pullgate.store.cluster.api import Api, Gone
from pullgate.store.cluster.store import ClusterStore
from pullgate.store.port import StoreUnavailable

FIRST_WAIT = 0.2
LAST_WAIT = 10.0
"""Seconds between tries: an API server that comes back is noticed within them."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Contact:
    """The contact with the API server, for each kind."""

    lost: dict[str, str] = field(default_factory=dict)
    """Kind -> why its contact is lost."""
    heard: float = field(default_factory=time.monotonic)
    """Monotonic time of the last contact."""

    @property
    def problem(self) -> str:
        """Why contact is lost; empty if it is not."""
        return "; ".join(sorted(set(self.lost.values())))

    @property
    def age(self) -> float:
        """Seconds since the last contact."""
        return time.monotonic() - self.heard

    def found(self, kind: str) -> None:
        """Note contact for `kind`."""
        self.heard = time.monotonic()
        if self.lost.pop(kind, None) is not None and not self.lost:
            log.warning("the API server is heard again")

    def lose(self, kind: str, why: str) -> None:
        """Note that contact for `kind` is lost; logged once for all kinds."""
        if not self.lost:
            log.warning("%s; what was last seen is used until it is back", why)
        self.lost[kind] = why


async def reflect(api: Api, store: ClusterStore, kind: str, contact: Contact) -> None:
    """Follow `kind` until cancelled."""
    version, failures = "", 0
    while True:
        try:
            if not version:
                version, _ = await store.relist(kind)
                contact.found(kind)
            async for type_, document in api.watch(store.path_of(kind), version):
                failures = 0
                contact.found(kind)
                version = str(document["metadata"]["resourceVersion"])
                if type_ != "BOOKMARK":
                    store.take(type_, kind, document)
        except Gone:
            version = ""
        except StoreUnavailable as error:
            contact.lose(kind, str(error))
            failures += 1
        await asyncio.sleep(_wait(failures))


def _wait(failures: int) -> float:
    """Seconds, with full jitter above the first: replicas do not come back all at once."""
    longest = min(LAST_WAIT, FIRST_WAIT * 2.0 ** min(failures, 10))
    return random.uniform(FIRST_WAIT / 2, longest)  # noqa: S311 - no secret
