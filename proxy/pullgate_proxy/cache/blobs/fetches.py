"""Blobs that come from upstreams into files: once for each place, completed even if readers leave."""

from __future__ import annotations

import asyncio
import functools
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from pullgate import faults
from pullgate.shares import Shares
from pullgate.upstream.blob import stream_blob
from pullgate.upstream.hashing import FileSink
from pullgate.upstream.request import UpstreamResponse
from pullgate_proxy.cache.blobs.ask import Ask, Place
from pullgate_proxy.cache.blobs.flight import Flight, Lost
from pullgate_proxy.cache.blobs.keeper import Keeper

LINGER: Final = 10.0
"""Seconds for which a fetch goes on that nobody reads; with half of it there it is brought to its end."""
UNKEPT_SECONDS: Final = 2.0
"""For which a blob that found no room is streamed at once: what is in its way may be read or written just now."""
DISTRUSTED_SECONDS: Final = 600.0
"""For which a blob that came damaged comes from its upstream alone."""
NOTED: Final = 10_000
UNREAD_SECONDS: Final = 600.0
"""After which also such a fetch is given up: its upstream may drip."""
AT_ONCE: Final = 1024
"""Fetches at once. Beyond a Registry's or an app's share of them its blobs are streamed past the disk."""

Count = Callable[[int], None]


class Elsewhere(Protocol):
    """A source that is asked for a blob before its upstream."""

    name: str
    """For the metric."""
    vouches: bool
    """True if the source has asked the upstream if the blob is still in that very repository."""

    async def ask(self, ask: Ask) -> UpstreamResponse | None:
        """The response with the complete blob; None if this source cannot deliver it.

        None also if the very place of `ask` is not proven there: bytes that another place delivered prove nothing.
        """


class Fetches:
    """The flights."""

    def __init__(
        self,
        keeper: Keeper,
        clock: Callable[[], float],
        *,
        check_place: Callable[[Ask], Awaitable[object]],
        on_proven: Callable[[Place], None],
        on_received: Callable[[str, int], None],
        on_kept: Callable[[Place], None],
        elsewhere: Sequence[Elsewhere] = (),
    ) -> None:
        """`check_place` asks the upstream whether the blob is still there, and raises its faults.

        `on_proven` receives each place from which a whole blob came and was verified, `on_received` the source and
        number of bytes that came, `on_kept` each blob that is kept.
        """
        self.linger, self.unread = LINGER, UNREAD_SECONDS
        self._keeper, self._clock, self._elsewhere = keeper, clock, elsewhere
        self._check_place = check_place
        self._on_proven, self._on_received, self._on_kept = on_proven, on_received, on_kept
        self._shares = Shares("fetches", AT_ONCE)
        self._flights: dict[Place, Flight] = {}
        self._tasks: dict[Flight, asyncio.Task[None]] = {}
        # Both by place: what one upstream sends must not decide how another's customers are served.
        self._unkept: OrderedDict[Place, float] = OrderedDict()
        """Place -> until when it is not tried to keep the blob."""
        self._distrusted: OrderedDict[Place, float] = OrderedDict()
        """Place -> until when the blob is fetched from nowhere but the upstream."""

    def __len__(self) -> int:
        return len(self._flights)

    def get(self, place: Place) -> Flight | None:
        """The blob's flight, if it is on its way from this place. Places never share one: see docs/cache.md."""
        return self._flights.get(place)

    def may_begin(self, ask: Ask) -> bool:
        """True if it is likely that the blob can be kept, and its Registry and app have not their share of fetches."""
        likely = self._keeper.usable and self._unkept.get(ask.place, 0.0) <= self._clock()
        return likely and self._shares.fits(ask.holders)

    def begin(self, ask: Ask) -> Flight:
        """Fetch a blob that is not on its way, and for which `may_begin` was just asked."""
        self._shares.take(ask.holders)
        flight = self._flights[ask.place] = Flight(ask.place)
        self._tasks[flight] = asyncio.create_task(self._fly(ask, flight), name=f"fetch {ask.digest}")
        return flight

    async def close(self) -> None:
        """End all of them."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def leave(self, flight: Flight) -> None:
        """One reader less. A fetch that nobody reads is given up after a while."""
        flight.readers -= 1
        if flight.readers:
            return
        if flight not in self._tasks:
            flight.close()
            return
        flight.idle_since = self._clock()
        asyncio.get_running_loop().call_later(self.linger, self._give_up, flight)

    def _give_up(self, flight: Flight) -> None:
        task = self._tasks.get(flight)
        idle = self._clock() - flight.idle_since
        if task is None or flight.readers or idle < self.linger:
            return
        if flight.written < flight.size / 2 or idle >= self.unread:
            task.cancel()
        else:
            asyncio.get_running_loop().call_later(self.unread - idle, self._give_up, flight)

    async def _fly(self, ask: Ask, flight: Flight) -> None:
        why: faults.Fault | Lost = Lost()
        try:
            await self._fetch(ask, flight)
        except faults.Fault as fault:
            if isinstance(fault, faults.DigestMismatch):
                self._note(self._distrusted, flight.place, DISTRUSTED_SECONDS)
            why = fault
        except OSError as error:
            self._keeper.failed(error)
        finally:
            del self._flights[flight.place], self._tasks[flight]
            self._shares.give(ask.holders)
            flight.fail(why)
            if not flight.readers:  # one who came may not have opened it yet
                flight.close()

    async def _fetch(self, ask: Ask, flight: Flight) -> None:
        """From where it can be had into a file, if it can be kept.

        Raises the upstream's faults; OSError where the disk fails.
        """
        kept = False
        try:
            source, response = await self._send(ask)
            try:
                whole = await self._take_in(ask, flight, response, functools.partial(self._on_received, source))
            finally:
                response.release()
            if whole:
                self._on_proven(flight.place)
            kept = whole and await self._keeper.commit(flight.place)
        finally:
            if not kept:
                # Before anybody may begin anew; also where this task is cancelled.
                await asyncio.shield(self._keeper.abandon(flight.place))
        if kept:
            self._on_kept(flight.place)

    async def _send(self, ask: Ask) -> tuple[str, UpstreamResponse]:
        """Whence the blob comes, and its answer."""
        trusted = self._distrusted.get(ask.place, 0.0) <= self._clock()
        for source in self._elsewhere if trusted else ():
            response = await source.ask(ask)
            if response is None:
                continue
            try:
                if not source.vouches:
                    await self._check_place(ask)
            except BaseException:
                response.abort()
                raise
            return source.name, response
        return "upstream", await ask.current().send(ask.request)

    async def _take_in(self, ask: Ask, flight: Flight, response: UpstreamResponse, count: Count) -> bool:
        """True if the blob is complete in a file. Raises the upstream's faults; OSError if the disk fails."""
        size = response.length if response.status == 200 else None
        path = await self._keeper.claim(flight.place, size) if size else None
        if size is None or path is None:
            if self._keeper.usable:
                self._note(self._unkept, flight.place, UNKEPT_SECONDS)
            return False
        await self._pump(ask, flight, response, (path, size), count)
        return True

    async def _pump(
        self, ask: Ask, flight: Flight, response: UpstreamResponse, into: tuple[Path, int], count: Count
    ) -> None:
        path, size = into
        writing, reading = await asyncio.to_thread(_open_twice, path)
        flight.open(size, reading)
        sink = FileSink(writing, lambda: _advance(flight, sink, count, wake=True))
        stream = stream_blob(ask.current(), ask.request, response, sink=sink, current=ask.current)
        try:
            async for _ in stream:
                _advance(flight, sink, count)
            _advance(flight, sink, count)
            flight.finish()
            await asyncio.to_thread(self._keeper.directory.seal, writing)
        finally:
            await stream.aclose()
            sink.close()

    def _note(self, places: OrderedDict[Place, float], place: Place, seconds: float) -> None:
        places[place] = self._clock() + seconds
        if len(places) > NOTED:
            places.popitem(last=False)


def _advance(flight: Flight, sink: FileSink, count: Count, *, wake: bool = False) -> None:
    written = sink.written
    count(written - flight.written)
    flight.advance(written, wake=wake)


def _open_twice(path: Path) -> tuple[int, int]:
    writing = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        return writing, os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        os.close(writing)
        raise
