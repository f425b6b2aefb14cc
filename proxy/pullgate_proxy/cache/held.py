"""A blob's file in the hands of one reader: parts of it, whole or still growing, sent by sendfile."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Self

from pullgate.upstream.blob import BlobStream, stream_blob, stream_rest
from pullgate_proxy.cache.ask import Ask
from pullgate_proxy.cache.disk import Found, hasher_of_file
from pullgate_proxy.cache.flight import Flight, Lost
from pullgate_proxy.cache.keeper import Keeping

PART: Final = 8 * 1024 * 1024
"""Bytes that are sent in one go."""
FIRST_PART: Final = 16 * 1024
"""Of them at first: they go out with the headers, and many who ask at once all have their first byte soon."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """Bytes of a file."""

    file: io.FileIO
    offset: int
    count: int
    is_warm: bool
    """Whether they were written just now, so that no disk is waited for."""
    broken: Callable[[int], Awaitable[None]]
    """To be called where so many bytes at the end of it cannot be read."""


Part = FilePart | bytes | memoryview


class Held(AsyncIterator[Part]):
    """The bytes of a blob for one client: `cut` first, if it wants a part. Call `aclose` in the end.

    The iteration raises a fault where the bytes cannot be had.
    """

    def __init__(
        self, ask: Ask, source: Found | Flight, result: str, keeper: Keeping, on_end: Callable[[Held], None]
    ) -> None:
        self.ask, self.result = ask, result
        self.flight = source if isinstance(source, Flight) else None
        self.size = source.size
        """Bytes of the whole blob."""
        self._file = source.reopen() if isinstance(source, Flight) else source.file
        self._first, self._position, self._end = 0, 0, self.size
        self._keeper, self._on_end = keeper, on_end
        self._rest: BlobStream | None = None
        self._is_broken = False
        self._closed = False
        keeper.pin(ask.digest)

    def cut(self, first: int, end: int) -> None:
        """Only the bytes `first` to before `end` are wanted."""
        self._first = self._position = first
        self._end = end

    @property
    def sent_all(self) -> bool:
        """Whether the whole blob was handed out."""
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
        chunk = await anext(self._rest)
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
        """None where no more comes into the file, or out of it. Raises the fault that ended its coming."""
        if self._is_broken:
            return None
        available = self._end
        if self.flight is not None:
            try:
                available = await self.flight.wait_beyond(self._position)
            except Lost:
                return None
        most = FIRST_PART if self._position == self._first else PART
        count = min(available, self._end, self._position + most) - self._position
        part = FilePart(self._file, self._position, count, self.flight is not None, self._broken)
        self._position += count
        return part

    async def _go_on(self) -> BlobStream:
        """The bytes from here on from the upstream itself; verified as a whole where all before can be read."""
        upstream, request, here = self.ask.current(), self.ask.request, self._position
        if self._end == self.size:
            with contextlib.suppress(OSError):
                begun = await asyncio.to_thread(hasher_of_file, self.ask.digest, self._file, here)
                return await stream_rest(upstream, request, here, self.size, begun)
        part = replace(request, range=f"bytes={here}-{self._end - 1}")
        return stream_blob(upstream, part, await upstream.send(part))
