"""A blob's file in the hands of one reader: parts of it, whole or still growing, sent by sendfile."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Self

from pullgate import faults
from pullgate.upstream.blob import BlobStream, stream_blob, stream_part, stream_rest
from pullgate_proxy.cache.blobs.ask import Ask
from pullgate_proxy.cache.blobs.disk import Found, hasher_of_file
from pullgate_proxy.cache.blobs.flight import Flight, Lost
from pullgate_proxy.cache.blobs.keeper import Keeper

PART: Final = 8 * 1024 * 1024
"""Bytes that are sent in one go."""
FIRST_PART: Final = 16 * 1024
"""Bytes of the first part, sent with the headers. Each later part is four times what was sent so far.

So each of many concurrent clients begins soon.
"""


@dataclass(frozen=True, slots=True)
class FilePart:
    """Bytes of a file."""

    file: io.FileIO
    offset: int
    count: int
    is_warm: bool
    """True if the bytes were written just now, so that reading them waits for no disk."""
    broken: Callable[[int], Awaitable[None]]
    """Call it with the number of bytes at the end of the part that cannot be read."""


Part = FilePart | bytes | memoryview


class Held(AsyncIterator[Part]):
    """The bytes of a blob for one client: `cut` first, if it wants a part. Call `aclose` in the end.

    The iteration raises a fault if the bytes are not available.
    """

    def __init__(
        self, ask: Ask, source: Found | Flight, result: str, keeper: Keeper, on_end: Callable[[Held], None]
    ) -> None:
        self.ask, self.result = ask, result
        self.flight = source if isinstance(source, Flight) else None
        self.size = source.size
        """Bytes of the whole blob."""
        self._file = source.reopen() if isinstance(source, Flight) else source.file
        self._changed = source.changed if isinstance(source, Found) else 0
        self._first, self._position, self._end = 0, 0, self.size
        self._keeper, self._on_end = keeper, on_end
        self._rest: BlobStream | None = None
        self._known = 0
        """Bytes of `_rest` that were sent already."""
        self._is_broken = False
        self._closed = False
        keeper.pin(ask.digest)

    def cut(self, first: int, end: int) -> None:
        """Only the bytes `first` to before `end` are wanted."""
        self._first = self._position = first
        self._end = end

    async def move(self, first: int, end: int) -> None:
        """As `cut`, for the next of several parts."""
        rest, self._rest, self._known = self._rest, None, 0
        if rest is not None:
            await rest.aclose()
        self.cut(first, end)

    @property
    def sent_all(self) -> bool:
        """True if the complete blob was handed out."""
        return self._first == 0 and self._position == self.size

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Part:
        if self._rest is None and self._position >= self._end:
            raise StopAsyncIteration
        if self._rest is None:
            part = await self._next_part()
            if part is not None:
                return part
            self._rest = await self._go_on()
        while True:
            chunk = await anext(self._rest)
            if self._known < len(chunk):
                break
            self._known -= len(chunk)
        chunk, self._known = chunk[self._known :], 0
        self._position += len(chunk)
        return chunk

    async def aclose(self) -> None:
        """Nobody reads any more."""
        if self._closed:
            return
        self._closed = True
        self._file.close()
        self._keeper.unpin(self.ask.digest)
        self._on_end(self)
        if self._rest is not None:
            await self._rest.aclose()

    async def _broken(self, unsent: int) -> None:
        """The file does not give what it should: the upstream does, from there on."""
        self._position -= unsent
        self._is_broken = True
        if self.flight is None:
            await self._keeper.drop(self.ask.digest)

    async def _next_part(self) -> FilePart | None:
        """None if no more comes into the file, or out of it. Raises the fault that ended its coming."""
        if self._is_broken:
            return None
        available = self._end
        if self.flight is not None:
            try:
                available = await self.flight.wait_beyond(self._position)
            except Lost:
                return None
        elif self._position > self._first or self._end - self._position > FIRST_PART:
            # The last byte waits until all before is out, as that of a blob that comes in.
            available = self._end - 1
            if self._position == available:
                if not await self._is_whole():
                    return None
                available = self._end
        most = min(max(FIRST_PART, 4 * (self._position - self._first)), PART)
        count = min(available, self._end, self._position + most) - self._position
        part = FilePart(self._file, self._position, count, self.flight is not None, self._broken)
        self._position += count
        return part

    async def _is_whole(self) -> bool:
        """True if the file is as it was opened; False if it was truncated.

        Raises DigestMismatch if the file was written to and is corrupt: the bytes sent so far may be wrong, too.
        """
        stat = os.fstat(self._file.fileno())
        if stat.st_size < self.size:
            await self._broken(0)
            return False
        if stat.st_mtime_ns == self._changed:
            return True
        digest = self.ask.digest
        try:
            good = await asyncio.to_thread(self._keeper.directory.verify, digest, self._file)
        except OSError:
            good = False
        if not good:
            await self._keeper.drop(digest)
            raise faults.DigestMismatch("the blob cache", digest)
        return True

    async def _go_on(self) -> BlobStream:
        """The bytes from here on from the upstream itself; those of a whole blob are verified with all before."""
        upstream, request, here = self.ask.current(), self.ask.request, self._position
        if self._end < self.size:
            return await stream_part(upstream, request, here, self._end)
        try:
            begun = await asyncio.to_thread(hasher_of_file, self.ask.digest, self._file, here)
        except OSError:
            # The bytes before `here` cannot be read again: the upstream sends them, too, and they are skipped.
            whole = stream_blob(upstream, request, await upstream.send(request), current=self.ask.current)
            self._known = here
            return whole
        return await stream_rest(upstream, request, here, self.size, begun)
