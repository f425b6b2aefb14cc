"""The replicas that exist, and the owner of each blob."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Final

Address = tuple[str, int]

REFRESH_SECONDS: Final = 5.0
DOWN_SECONDS: Final = 10.0
"""Seconds for which a replica that failed is asked nothing."""
REPLICAS: Final = 256


def owner_of(digest: str, addresses: Iterable[Address]) -> Address | None:
    """The owner of a blob, by rendezvous hashing (Thaler, Ravishankar, 1998): a change moves its own share alone."""

    def score(address: Address) -> bytes:
        return hashlib.blake2b(f"{address[0]}|{address[1]}|{digest}".encode(), digest_size=8).digest()

    return max(addresses, key=score, default=None)


async def resolve(names: Sequence[Address]) -> set[Address]:
    """Every address behind `names`; those that do not resolve have none."""
    found: set[Address] = set()
    loop = asyncio.get_running_loop()
    for name, port in names:
        try:
            rows = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        except OSError:
            continue
        found |= {(row[4][0], port) for row in rows if isinstance(row[4][0], str)}
    return set(sorted(found)[:REPLICAS])


class Membership:
    """The replicas as DNS tells them; this one among them, whichever it is."""

    def __init__(self, names: Sequence[Address], clock: Callable[[], float]) -> None:
        self._names, self._clock = names, clock
        self._there: set[Address] = set()
        self._own: set[Address] = set()
        self._down: dict[Address, float] = {}

    async def run(self) -> None:
        """Follow DNS until cancelled. If DNS does not answer, keep the last known replicas."""
        while True:
            self._there = await resolve(self._names) or self._there
            self._own &= self._there
            self._down = {address: until for address, until in self._down.items() if until > self._clock()}
            await asyncio.sleep(REFRESH_SECONDS)

    @property
    def known(self) -> int:
        """How many replicas there are, with this one among them."""
        return len(self._there)

    @property
    def down(self) -> int:
        """How many of them failed and are not asked for a while."""
        now = self._clock()
        return sum(until > now for address, until in self._down.items() if address in self._there)

    def owner(self, digest: str) -> Address | None:
        """Whom to ask for the blob; None: it is this replica's own to fetch."""
        now = self._clock()
        able = (address for address in self._there if self._down.get(address, 0.0) <= now)
        found = owner_of(digest, able)
        return None if found in self._own else found

    def others(self) -> list[Address]:
        """Every replica that may be asked now, without those known to be this one."""
        now = self._clock()
        return [address for address in self._there - self._own if self._down.get(address, 0.0) <= now]

    def note_own(self, address: Address) -> None:
        """It is this replica that answers there."""
        self._own.add(address)

    def note_down(self, address: Address, seconds: float = DOWN_SECONDS) -> None:
        """The replica there did not do what it should."""
        self._down[address] = self._clock() + seconds
