"""Who wants which blob, and for whom an upstream is known to have it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pullgate.shares import Holders, registry_holders
from pullgate.upstream.client import Upstream
from pullgate.upstream.request import UpstreamRequest
from pullgate_proxy.cache.where import Where

LIMIT: Final = 200_000
"""Places that are remembered, about 300 bytes each."""

Place = tuple[object, ...]
"""A Registry, host, repository and digest."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One blob that a client may pull."""

    where: Where
    repository: str
    digest: str
    current: Callable[[], Upstream]
    """The client of the Registry as it is when this is called. Raises a fault."""
    by_peer: bool = False
    """Whether another replica asks, which must not be sent on."""
    reader: str = ""
    """License and address of the client; empty where none waits for it."""

    @property
    def place(self) -> Place:
        """Whose upstream says whether it is there."""
        return (self.where.registry, self.where.host, self.repository, self.digest)

    @property
    def holders(self) -> Holders:
        """In whose name it is fetched."""
        namespace, name, _ = self.where.registry
        return registry_holders(f"{namespace}/{name}")

    @property
    def request(self) -> UpstreamRequest:
        """GET."""
        return UpstreamRequest("GET", self.repository, "blobs", self.digest)


class Places:
    """Where a blob was seen last, and when (monotonic seconds)."""

    def __init__(self) -> None:
        self._told: OrderedDict[Place, float] = OrderedDict()

    def tell(self, place: Place, now: float) -> None:
        """Its upstream has just said that the blob is there."""
        self._told[place] = now
        self._told.move_to_end(place)
        if len(self._told) > LIMIT:
            self._told.popitem(last=False)

    def told(self, place: Place) -> float | None:
        """When that was."""
        return self._told.get(place)

    def forget(self, place: Place) -> None:
        """Its upstream says otherwise."""
        self._told.pop(place, None)
