"""The state that all workers of a replica share: the usage of Licenses, and the disk. A single process owns its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pullgate.licensing.usage import Counts
from pullgate.policy.facts import LicenseFacts
from pullgate.usage.poller import UsagePoller
from pullgate_proxy.cache.disk import BlobDir
from pullgate_proxy.cache.keeper import Bounds, Keeper
from pullgate_proxy.cache.keeping import Keeping
from pullgate_proxy.limits import PEER_SECONDS, Gatekeeper, PeerUsage, Visit, limits_of
from pullgate_proxy.lineage.grants import LIFETIME, Grants
from pullgate_proxy.metrics import Metrics
from pullgate_proxy.peers.grants import GrantPeers
from pullgate_proxy.pipeline.request import PullRequest
from pullgate_proxy.pull_log import Record
from pullgate_proxy.settings import ProxySettings
from pullgate_proxy.state.snapshot import Name
from pullgate_proxy.tokens import SigningKeys
from pullgate_proxy.usage import UsageBook


class Book(Protocol):
    """Records the usage of Licenses."""

    @property
    def instance(self) -> str:
        """The id of this run of the replica."""
        ...

    def note(self, license_: Name, counts: Counts, key: str, now: float) -> None:
        """One request of a License, by the key with the id `key`, at `now` (Unix time)."""

    def note_refused(self, registry: Name, refreshed_at: str) -> None:
        """The upstream of `registry` did not take the token that was issued at `refreshed_at` (RFC 3339)."""


class Gate(Protocol):
    """Lets a License's requests in, up to its limits."""

    async def enter(self, license_: LicenseFacts, request: PullRequest, record: Record) -> None:
        """Let `request` in; `leave` must follow in any case. Raises LimitReached, ShuttingDown.

        A test raises TooManyTests alone, and notes in `record` which limit of the customer is used up.
        """

    def counts_bytes(self, record: Record) -> bool:
        """True if the body of `record` must be reserved; else `reserve` grants whatever it is asked for."""
        ...

    async def reserve(self, record: Record, least: int, most: int) -> int:
        """Bytes from `least` to `most` that the body of `record` may have beside those reserved before.

        Raises LimitReached, ShuttingDown.
        """
        ...

    def leave(self, record: Record) -> None:
        """The request of `record` has ended, and was counted in the book."""


class Elsewhere(Protocol):
    """The grants of the other workers and replicas."""

    def note(self, entries: list[bytes]) -> None:
        """This process proved `entries`."""

    async def find(self, entry: bytes) -> float:
        """Seconds for which another one's grant of `entry` holds; 0 without one."""


@dataclass(frozen=True, slots=True)
class Shared:
    """The one of each that there is."""

    book: Book
    gate: Gate
    keeper: Keeping | None
    """None: no blob is kept."""
    elsewhere: Elsewhere


class Own:
    """The shared things themselves, in the process that has them."""

    def __init__(self, settings: ProxySettings, metrics: Metrics, keys: Callable[[], SigningKeys]) -> None:
        """`keys` are the proxy's signing keys as they are now; other replicas show that they have them, too."""
        self._settings = settings
        self.usage = UsageBook()
        self.grants = Grants(settings.grant_limit)
        """The grants that all workers proved, for each other and for the other replicas."""
        self.grant_peers = GrantPeers(self.grants, settings.peers, self.usage.instance, keys)
        self.peers = PeerUsage(self.usage.instance)
        self.gatekeeper = Gatekeeper(self.usage, self.peers)
        self.keeper = _build_keeper(settings, metrics)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def shared(self) -> Shared:
        """For a proxy."""
        elsewhere = OwnElsewhere(self.grants, self.grant_peers)
        return Shared(self.usage, OwnGate(self.gatekeeper), self.keeper, elsewhere)

    def start(self) -> None:
        """Follow the other replicas: what they counted, and what they proved."""
        if self._settings.peers:
            poller = UsagePoller(self._settings.peers, self.peers.take, PEER_SECONDS)
            self._tasks.append(asyncio.create_task(poller.run()))
            self._tasks.append(asyncio.create_task(self.grant_peers.membership.run()))

    async def close(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.grant_peers.close()


class OwnGate:
    """Gate of the process that counts."""

    def __init__(self, gatekeeper: Gatekeeper) -> None:
        self._gatekeeper = gatekeeper
        self._inside: dict[int, Visit] = {}
        """By the identity of the record, which lives until it leaves."""

    async def enter(self, license_: LicenseFacts, request: PullRequest, record: Record) -> None:
        """See Gate."""
        if record.test:
            record.limit = self._gatekeeper.enter_test(license_, time.time())
            return
        limits = limits_of(license_, request)
        if limits is not None:
            self._inside[id(record)] = self._gatekeeper.enter(license_, limits, request.kind, time.time())

    def counts_bytes(self, record: Record) -> bool:
        """See Gate."""
        visit = self._inside.get(id(record))
        return visit is not None and visit.limits.bytes_per_day is not None

    async def reserve(self, record: Record, least: int, most: int) -> int:
        """See Gate."""
        visit = self._inside.get(id(record))
        return most if visit is None else self._gatekeeper.reserve(visit, least, most, time.time())

    def leave(self, record: Record) -> None:
        """See Gate."""
        visit = self._inside.pop(id(record), None)
        if visit is not None:
            self._gatekeeper.leave(visit)


class OwnElsewhere:
    """Elsewhere of the process that has the shared grants."""

    def __init__(self, grants: Grants, peers: GrantPeers) -> None:
        self._grants, self._peers = grants, peers

    def note(self, entries: list[bytes]) -> None:
        """See Elsewhere."""
        self._grants.take(entries, LIFETIME, time.monotonic())

    async def find(self, entry: bytes) -> float:
        """See Elsewhere."""
        return await self._peers.find(entry)


def _build_keeper(settings: ProxySettings, metrics: Metrics) -> Keeper | None:
    if settings.blob_cache is None:
        return None
    keeper = Keeper(
        BlobDir(settings.blob_cache),
        Bounds(settings.blob_cache_size, settings.blob_cache_files),
        lambda why: metrics.blob_removals.labels(why).inc(),
    )
    metrics.follow_keeper(keeper)
    return keeper
