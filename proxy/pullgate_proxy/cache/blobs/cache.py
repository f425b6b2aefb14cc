"""Blobs from the disk: fetched once for each place that has them, and kept once for all.

A blob on the disk is bytes with a digest. A place (a Registry, host and repository) is served these bytes only after
its own upstream has delivered them once, whole, and only while that upstream says, within DIGEST_TTL, that it has them
still. The argument is in docs/cache.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from pullgate import faults
from pullgate_proxy.cache.blobs.ask import Ask, Place, Places
from pullgate_proxy.cache.blobs.disk import Found, open_file
from pullgate_proxy.cache.blobs.fetches import Elsewhere, Fetches
from pullgate_proxy.cache.blobs.flight import Flight
from pullgate_proxy.cache.blobs.keeper import Keeper
from pullgate_proxy.cache.blobs.objects import ObjectStore
from pullgate_proxy.cache.blobs.reader import Held
from pullgate_proxy.cache.blobs.suspicion import Suspicion
from pullgate_proxy.cache.together import Together
from pullgate_proxy.cache.where import DIGEST_TTL, STALE

AHEAD: Final = 64 * 1024 * 1024
"""Bytes that a reader of a part waits for; for one further on the upstream is asked itself."""


class BlobCache:
    """The front door."""

    def __init__(
        self,
        keeper: Keeper,
        clock: Callable[[], float],
        *,
        on_result: Callable[[str], None],
        on_received: Callable[[str, int], None],
        peers: Elsewhere | None = None,
        store: ObjectStore | None = None,
    ) -> None:
        """`on_result` receives hit, revalidated, shared, miss or stale; `on_received` see Fetches."""
        self.keeper = keeper
        self.fetches = Fetches(
            keeper,
            clock,
            check_place=self._check_place,
            on_proven=self.note_there,
            on_received=on_received,
            on_kept=self._on_kept,
            elsewhere=[source for source in (peers, store) if source is not None],
        )
        self.store = store
        self._clock, self._on_result = clock, on_result
        self._together = Together()
        self._places = Places()
        self._suspicion = Suspicion(clock)

    async def start(self) -> None:
        """See Keeper and ObjectStore."""
        await self.keeper.start()
        if self.store is not None:
            await self.store.start()

    async def close(self) -> None:
        """End what is on its way."""
        await self.fetches.close()
        await self._together.close()
        if self.store is not None:
            await self.store.close()
        await self.keeper.stop()

    async def open(self, ask: Ask, first: int | None = 0, *, begin: bool = True) -> Held | None:
        """The blob as a file; None if it has to be streamed past the disk. Raises the upstream's faults.

        `first` is the first byte that is wanted; None: counted from the end. `begin`: whether it may be fetched.
        """
        flight = self.fetches.get(ask.place)
        if flight is None and self._is_proven(ask.place) and (found := await self._find(ask)) is not None:
            with contextlib.ExitStack() as stack:
                stack.callback(found.file.close)
                result = await self._check_place(ask)
                stack.pop_all()
            return self._hold(ask, found, result)
        flight = flight or self.fetches.get(ask.place)  # begun while the disk was looked at
        if flight is None and not (begin and self.fetches.may_begin(ask)):
            return None
        if flight is not None and first is not None and first - flight.available > AHEAD:
            return None
        return await self._follow(ask, flight)

    def note_there(self, place: Place) -> None:
        """The upstream of a place that is proven, or was proven just now, has the blob."""
        self._places.tell(place, self._clock())

    async def locate(self, ask: Ask) -> str | None:
        """A URL of the object store for a client that may have the blob; None if the store may not serve its place.

        Raises faults.
        """
        url = await self.store.locate(ask.place) if self.store is not None else None
        if url is not None:
            await self._check_place(ask)
        return url

    def _is_proven(self, place: Place) -> bool:
        """True if the upstream of `place` has delivered the blob once, whole."""
        return self._places.told(place) is not None or self.keeper.is_proven(place)

    def _on_kept(self, place: Place) -> None:
        if self.store is not None:
            self.store.put_later(place)

    async def _follow(self, ask: Ask, flight: Flight | None) -> Held | None:
        """One more reader of `flight`, or the first of a new one. None if it does not come into a file."""
        is_first = flight is None
        flight = flight or self.fetches.begin(ask)
        flight.readers += 1
        try:
            if await asyncio.shield(flight.opened):
                # A flight that is over is whole, and only not in its place yet.
                result = "miss" if is_first else "hit" if flight.is_over else "shared"
                return self._hold(ask, flight, result)
        except BaseException:
            self.fetches.leave(flight)
            raise
        self.fetches.leave(flight)
        return None

    def _hold(self, ask: Ask, source: Found | Flight, result: str) -> Held:
        if ask.reader:
            self._on_result(result)
        return Held(ask, source, result, self.keeper, on_end=self._on_end)

    def _on_end(self, held: Held) -> None:
        if held.sent_all and held.ask.reader:
            self._suspicion.note(held.ask.reader, held.ask.digest)
        if held.flight is not None:
            self.fetches.leave(held.flight)

    # --- is it here, and what it should be? ---

    async def _find(self, ask: Ask) -> Found | None:
        directory = self.keeper.directory
        try:
            found = directory.open(ask.digest)
            if found is not None and (not found.proven or self._suspicion.falls_on(ask.reader, ask.digest)):
                found.file.close()
                verified = await self._together.share(("verify", ask.digest), lambda: self._verify(ask.digest))
                found = directory.open(ask.digest) if verified else None
                if found is not None and not found.proven and (found.inode, found.changed) != verified:
                    found.file.close()  # somebody put another in its place meanwhile
                    found = None
        except OSError as error:
            self.keeper.failed(error)
            return None
        if found is None:
            self.keeper.missing(ask.digest)
        return found

    async def _verify(self, digest: str) -> tuple[int, int] | None:
        """Inode and mtime (ns) of the file, if its content matches `digest`; None if it is missing or corrupt."""
        directory = self.keeper.directory
        try:
            with open_file(directory.path(digest)) as file:
                if await asyncio.to_thread(directory.verify, digest, file):
                    stat = os.fstat(file.fileno())
                    return stat.st_ino, stat.st_mtime_ns
        except FileNotFoundError:
            return None
        await self.keeper.drop(digest)
        self._suspicion.forget(digest)
        return None

    async def _check_place(self, ask: Ask) -> str:
        """hit, revalidated or stale, of a place that is proven. Raises the upstream's faults."""
        told = self._places.told(ask.place)
        if told is not None and self._clock() - told < DIGEST_TTL:
            return "hit"
        try:
            await self._together.share(("HEAD", ask.place), lambda: self._ask_place(ask))
        except STALE:
            if told is None or self._clock() - told > ask.where.stale_if_error:
                raise
            return "stale"
        except faults.Fault:
            self._places.forget(ask.place)
            raise
        return "revalidated"

    async def _ask_place(self, ask: Ask) -> None:
        # A redirect says that it is there, and its target is often signed for one method alone.
        request = replace(ask.request, method="HEAD", follow_redirects=False)
        (await ask.current().send(request)).release()
        self.note_there(ask.place)
