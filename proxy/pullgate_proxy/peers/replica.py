"""The counts and grants of this replica, which the others read, and those of the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from pullgate.policy.facts import LicenseFacts
from pullgate.usage.poller import UsagePoller
from pullgate_proxy.limits.limits import PEER_SECONDS, Gatekeeper, PeerUsage, Visit, limits_of
from pullgate_proxy.limits.usage import UsageBook
from pullgate_proxy.lineage.grants import Grants
from pullgate_proxy.peers.grants import GrantPeers
from pullgate_proxy.request.parse import PullRequest
from pullgate_proxy.request.record import Record
from pullgate_proxy.settings import ProxySettings
from pullgate_proxy.state.tokens import SigningKeys


class Replica:
    """The usage of Licenses and the proven grants, of this replica and of its peers."""

    def __init__(self, settings: ProxySettings, keys: Callable[[], SigningKeys]) -> None:
        """`keys` are the proxy's signing keys as they are now; other replicas show that they have them, too."""
        self._settings = settings
        self.usage = UsageBook()
        self.grants = Grants(settings.grant_limit)
        self.grant_peers = GrantPeers(self.grants, settings.peers, self.usage.instance, keys)
        self.peers = PeerUsage(self.usage.instance)
        self.gatekeeper = Gatekeeper(self.usage, self.peers)
        self.gate = Gate(self.gatekeeper)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Follow the other replicas: their counts, and their grants."""
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


class Gate:
    """Lets a License's requests in, up to its limits."""

    def __init__(self, gatekeeper: Gatekeeper) -> None:
        self._gatekeeper = gatekeeper
        self._inside: dict[int, Visit] = {}
        """By the identity of the record, which lives until it leaves."""

    def enter(self, license_: LicenseFacts, request: PullRequest, record: Record) -> None:
        """Let `request` in; `leave` must follow in any case. Raises LimitReached.

        A test raises TooManyTests alone, and notes in `record` which limit of the customer is used up.
        """
        if record.test:
            record.limit = self._gatekeeper.enter_test(license_, time.time())
            return
        limits = limits_of(license_, request)
        if limits is not None:
            self._inside[id(record)] = self._gatekeeper.enter(license_, limits, request.kind, time.time())

    def counts_bytes(self, record: Record) -> bool:
        """True if the body of `record` must be reserved; else `reserve` grants any number of bytes."""
        visit = self._inside.get(id(record))
        return visit is not None and visit.limits.bytes_per_day is not None

    def reserve(self, record: Record, least: int, most: int) -> int:
        """Bytes from `least` to `most` that the body of `record` may have beside those reserved before.

        Raises LimitReached.
        """
        visit = self._inside.get(id(record))
        return most if visit is None else self._gatekeeper.reserve(visit, least, most, time.time())

    def leave(self, record: Record) -> None:
        """The request of `record` has ended, and the usage book holds its counts."""
        visit = self._inside.pop(id(record), None)
        if visit is not None:
            self._gatekeeper.leave(visit)
