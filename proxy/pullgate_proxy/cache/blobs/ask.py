"""A request for a blob, and the places whose upstream is known to have the blob."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from pullgate.shares import Holders, registry_holders
from pullgate.upstream.client import Upstream
from pullgate.upstream.request import UpstreamRequest
from pullgate_proxy.cache.evenly import Evenly
from pullgate_proxy.cache.where import Where

LIMIT: Final = 200_000
"""Places that are remembered, about 300 bytes each."""


class Place(NamedTuple):
    """A blob in one repository of one Registry. Places share a blob's bytes, and nothing that is known of it."""

    digest: str
    app: str
    """The Registry's namespace."""
    key: str
    """32 hexadecimal characters: a hash of the Registry (by its uid), the upstream's host and the repository."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One blob that a client may pull."""

    where: Where
    repository: str
    digest: str
    current: Callable[[], Upstream]
    """The client of the Registry as it is when this is called. Raises a fault."""
    by_peer: bool = False
    """True if another replica asks; its request must not be forwarded to a peer."""
    reader: str = ""
    """License and address of the client; empty if no client waits for it."""

    @property
    def place(self) -> Place:
        """The place whose upstream has to have the blob."""
        # Neither part can hold the separator.
        parts = "\0".join((*self.where.registry, self.where.host, self.repository))
        key = hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()
        return Place(self.digest, self.where.registry[0], key)

    @property
    def holders(self) -> Holders:
        """In whose name it is fetched."""
        namespace, name, _ = self.where.registry
        return registry_holders(namespace, name)

    @property
    def request(self) -> UpstreamRequest:
        """GET."""
        return UpstreamRequest("GET", self.repository, "blobs", self.digest)


class Places:
    """Places that are proven, and when (monotonic seconds) their upstream said last that the blob is still there.

    Only a place that is proven may be noted: see `proofs`. Without its place, a copy cannot stand in for an upstream
    that fails, so an app that fills the table displaces its own places and nobody else's.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._told: Evenly[Place, float] = Evenly(limit)

    def tell(self, place: Place, now: float) -> None:
        """Its upstream has just said that the blob is there."""
        self._told.put(place.app, place, now)

    def told(self, place: Place) -> float | None:
        """When that was."""
        return self._told.peek(place.app, place)

    def forget(self, place: Place) -> None:
        """Its upstream says otherwise."""
        self._told.remove(place.app, place)
