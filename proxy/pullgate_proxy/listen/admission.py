"""Admission control: the proxy answers Overloaded before descriptors or memory run out.

The caps on open requests and connections are planned at the start, from the kernel's limits for the process. In
addition, the process measures its real use once a second, and sets how many more pulls may begin until the next
measurement. So a request costs a few comparisons.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from pullgate.faults import Overloaded
from pullgate.shares import CapOf, Holders, Loan, Shares, address_holder
from pullgate.slots import FairSlots
from pullgate_proxy.listen.connections import Connections, Handle
from pullgate_proxy.listen.memory import count_descriptors, find_memory_limit, give_back, read_resident
from pullgate_proxy.observe.metrics import Metrics
from pullgate_proxy.request.origin import source_of
from pullgate_proxy.request.parse import Kind
from pullgate_proxy.request.record import Record
from pullgate_proxy.settings import ProxySettings

LOOK_SECONDS: Final = 1.0
SPARE: Final = 64
"""Descriptors for what is no pull: the admin port, the API server, name servers, files, checks of Registries."""
MANY: Final = 1 << 20
"""Descriptors that are planned with where there is no limit of them."""
MARGIN: Final = 32
"""Free descriptors below which no pull is let in, an eighth of all where that is less."""
FULL: Final = 0.9
"""Part of the memory above which no pull is let in."""
PULL_COST: Final = 768 * 1024
"""Bytes of memory that a pull may take. Measured: 600 KiB each of 200 blobs whose clients take nothing; of 99, 780."""
CONNECTION_COST: Final = 64 * 1024
"""Bytes of an idle connection: 5 KiB; 57 by TLS, and about as much with a head that has no end (measured)."""
BODIES: Final = 128 * 1024 * 1024
"""Bytes of bodies in memory at once where no limit of the memory is known; else an eighth of it."""
FORM_PART: Final = 4
"""1/FORM_PART of that is for forms of the token endpoint: who has no key can fill that part and no other."""
FEW: Final = 32
"""Pulls; when there is memory for no more, what is garbage or free is given back to the system."""
CALM: Final = 10
"""Looks in a row with room, after which it is said that there is."""
TIDY_SECONDS: Final = 10.0
"""How long after that it may be done again; doubled each time that it was of little use, up to `SELDOM`."""
SELDOM: Final = 640.0
LIST_COST: Final = 8 * 1024 * 1024
"""1/LIST_COST of the bytes for bodies is how many lists are worked on at once. 170,000 tags are 16 MiB (measured)."""
LISTS: Final = 4
"""At least so many."""
WAIT_SECONDS: Final = 20.0
"""For which a pull waits for room. containerd sends a request that got 429 again at once, five times, and gives up."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Room:
    """How much may be open at once."""

    requests: int
    connections: int
    bodies: int
    """Bytes."""

    @property
    def lists(self) -> int:
        """Lists of upstreams that are fetched, parsed and filtered at once."""
        return max(self.bodies // LIST_COST, LISTS)

    @property
    def waiting(self) -> int:
        """Requests that may wait for others to end: each takes a connection, and as many are left for who comes new."""
        return (self.connections - self.requests) // 2


def plan_room(descriptors: int, opened: int, memory: int | None, settings: ProxySettings) -> Room:
    """The caps that fit into `descriptors` (`opened` of them in use at the start) and into `memory` (bytes).

    A request has its client's connection, and up to two descriptors more: one to the upstream, and a file.
    """
    free = descriptors - min(opened + SPARE, descriptors // 2)
    requests = min(settings.max_requests, free // 4)
    connections = min(settings.max_connections, free - 2 * requests)
    if memory is not None:
        requests = min(requests, int(memory * FULL) // PULL_COST)
        connections = min(connections, max(memory // 4 // CONNECTION_COST, 2 * requests))
    # A refused client needs a connection, too.
    requests = min(requests, max(connections // 2, 1))
    return Room(requests, connections, BODIES if memory is None else memory // 8)


class Admission:
    """Counts what is open, and refuses what there is no room for."""

    def __init__(self, settings: ProxySettings, metrics: Metrics, cap_of: CapOf | None = None) -> None:
        """Plan by the limits of this process. `cap_of` bounds the open requests of a namespace further."""
        self._settings = settings
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._descriptors = soft if soft != resource.RLIM_INFINITY else MANY
        self.memory = settings.max_memory or find_memory_limit()
        """Bytes that the process may have; None if no limit is known."""
        self.room = plan_room(self._descriptors, count_descriptors(), self.memory, settings)
        forms = self.room.bodies // FORM_PART
        self.bodies, self._forms = Shares("bodies", self.room.bodies - forms), Shares("bodies", forms)
        self._seats = FairSlots("requests", self.room.requests, waiting=self.room.waiting, cap_of=cap_of)
        self.requests = self._seats.pool
        """Those that were authorized, each in the name of its License, Registry and app."""
        self.wait_seconds = WAIT_SECONDS
        """For which a request waits where its License, Registry or app has its share."""
        self.connections: Connections
        self.running = 0
        """Requests that are being answered."""
        self._metrics = metrics
        self._ceiling = sys.maxsize
        """Requests above which no pull is let in until the next look."""
        self._cause = "memory"
        """The exhausted resource that set the ceiling."""
        self._calm: int | None = None
        """Consecutive looks with room since the log reported a shortage; None: no shortage is reported."""
        self._tidy_at, self._tidy_pause = 0.0, TIDY_SECONDS

    def serve(self, handle: Handle) -> Connections:
        """The server of the customers' port."""
        closed = self._metrics.closed
        self.connections = Connections(
            handle,
            self.room.connections,
            self.bodies,
            lambda why: closed.labels(why).inc(),
            keepalive_timeout=self._settings.keepalive_timeout,
        )
        self._show()
        return self.connections

    def make_room(self) -> None:
        """There is no descriptor for a new connection."""
        self.connections.close_oldest(MARGIN)

    # --- one request ---

    def enter(self, http: web.BaseRequest) -> None:
        """A request begins; `leave` must follow."""
        self.running += 1
        self.connections.work(http.protocol)

    def let_in(self, max_requests: int) -> None:
        """A request, which is counted in `running`. Raises Overloaded."""
        if self.running > self.room.requests or self.running > max_requests:
            raise Overloaded("requests")

    def let_pull(self, kind: Kind) -> None:
        """A request that may ask the upstream. Raises Overloaded; never for a login."""
        if self.running > self._ceiling and kind is not Kind.PING:
            raise Overloaded(self._cause)

    async def seat(self, record: Record, holders: Holders) -> bool:
        """The request of `record` goes on in the name of `holders`; `leave` must follow.

        Returns True if it waited for that: what was decided before may have changed. Raises ShareReached, Overloaded.
        """
        if record.holders:
            return False
        waits = not self.requests.fits(holders)
        if waits:
            await self._wait(holders)
        else:
            self.requests.take(holders)
        record.holders = holders
        return waits

    async def _wait(self, holders: Holders) -> None:
        """Take a seat when there is one; a request that waits is as one that has not come yet."""
        self.running -= 1
        try:
            await self._seats.take_within(holders, self.wait_seconds)
        finally:
            self.running += 1

    def leave(self, record: Record) -> None:
        """A request has ended."""
        self.running -= 1
        if record.holders:
            self._seats.give(record.holders)

    @property
    def waiting(self) -> int:
        """Requests that wait until their License, Registry or app has less than its share."""
        return self._seats.waiting

    @contextlib.contextmanager
    def read_form(self, http: web.BaseRequest, client: str) -> Iterator[Loan]:
        """While a form is read, its request is as one that has not come yet, and its bytes are counted by the loan.

        Nobody has logged in yet, so they are those of the address `client`.
        """
        self.running -= 1
        try:
            with self.connections.waiting(http), self._forms.lend(address_holder(source_of(client))) as loan:
                yield loan
        finally:
            self.running += 1

    # --- once a second ---

    async def watch(self) -> None:
        """Look again and again."""
        while True:
            self.look()
            if self._room_in_memory() < FEW and time.monotonic() >= self._tidy_at:
                await self._tidy()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """See what the process has, and how many pulls may begin until the next look."""
        room, self._cause = min((self._room_for_descriptors(), "descriptors"), (self._room_in_memory(), "memory"))
        short_of = self._cause if room <= 0 else ""
        self._ceiling = 0 if short_of else self.running + room
        if short_of:
            self.connections.close_oldest(max(MARGIN, self.connections.idle // 8))
        self._tell(short_of)

    async def _tidy(self) -> None:
        before = read_resident()
        gc.collect()  # aborted bodies are often parts of cycles
        await asyncio.to_thread(give_back)
        little = before - read_resident() < before // 50
        self._tidy_pause = min(self._tidy_pause * 2, SELDOM) if little else TIDY_SECONDS
        self._tidy_at = time.monotonic() + self._tidy_pause

    def _room_for_descriptors(self) -> int:
        """Pulls for which there are descriptors."""
        free = self._descriptors - count_descriptors()
        return (free - min(MARGIN, self._descriptors // 8)) // 2

    def _room_in_memory(self) -> int:
        """Pulls for which there is memory."""
        if self.memory is None:
            return sys.maxsize
        return (int(self.memory * FULL) - read_resident()) // PULL_COST

    def _tell(self, short_of: str) -> None:
        """A line when it begins, and one when it was over for a while: not two a second where it is at the edge."""
        if short_of and self._calm is None:
            log.warning(
                "new pulls are refused: there is too little of %s (%d of %d descriptors are open, %d of %s MiB in use)",
                short_of,
                count_descriptors(),
                self._descriptors,
                read_resident() >> 20,
                self.memory >> 20 if self.memory is not None else "any",
            )
        if short_of:
            self._calm = 0
        elif self._calm is not None:
            self._calm += 1
            if self._calm == CALM:
                self._calm = None
                log.warning("new pulls are let in again")

    def _show(self) -> None:
        """Levels are read when somebody asks for them."""
        of, limit = self._metrics.load, self._metrics.load_limit
        self._metrics.running.set_function(lambda: self.running)
        of.labels("requests").set_function(lambda: self.running)
        of.labels("waiting").set_function(lambda: self.waiting)
        of.labels("connections").set_function(lambda: len(self.connections))
        of.labels("idle_connections").set_function(lambda: self.connections.idle)
        of.labels("descriptors").set_function(count_descriptors)
        of.labels("memory").set_function(read_resident)
        of.labels("bodies").set_function(lambda: self.bodies.used + self._forms.used)
        limit.labels("requests").set(self.room.requests)
        limit.labels("waiting").set(self.room.waiting)
        limit.labels("connections").set(self.room.connections)
        limit.labels("descriptors").set(self._descriptors)
        limit.labels("memory").set(self.memory or 0)
        limit.labels("bodies").set(self.room.bodies)
