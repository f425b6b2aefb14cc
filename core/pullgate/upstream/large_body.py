"""A large body, taken from the socket beside aiohttp's parser, into buffers that are used again.

asyncio allocates what it reads, and the parser copies it: page faults and copies that cost as much processor time as
the kernel's own part of relaying. Once the headers are here and say the length, no parser is needed any more. The
connection cannot go back to its pool then, for the parser never saw the end: that is why only large bodies come here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

LARGE: Final = 4 * 1024 * 1024
"""Bytes of a body from which on a new connection for the next request costs less than the parser."""
BUFFERS: Final = 3
"""One is filled, one is sent, one is hashed."""
SMALL: Final = 128 * 1024
"""Bytes of a buffer where many bodies are on their way."""
BIG: Final = 1024 * 1024
"""Bytes of a buffer where few are: half the processor time a byte outside the kernel, by fewer rounds of the loop."""
BIG_BODIES: Final = 8
"""Bodies at once that have big buffers: 24 MiB in all."""

_bodies_with_big: set[object] = set()


class LargeBody(asyncio.BufferedProtocol):
    """The rest of a body. One task reads it; a chunk is valid until it is given back."""

    def __init__(self, handler: ResponseHandler, transport: asyncio.Transport, left: int, idle: float) -> None:
        """Take over `transport` from `handler`; `left` bytes of the body are still to come, `idle` in seconds."""
        self._handler, self._transport = handler, transport
        self._left, self._idle = left, idle
        self._loop = asyncio.get_running_loop()
        self._made = 0
        self._size = BIG if len(_bodies_with_big) < BIG_BODIES else SMALL
        if self._size == BIG:
            _bodies_with_big.add(self)
        self._free: list[memoryview] = []
        self._filling: memoryview | None = None
        self._fill = 0
        self._full: deque[memoryview] = deque()
        self._lent: deque[memoryview] = deque()
        self._paused = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._waiting_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        transport.set_protocol(self)
        transport.resume_reading()

    @property
    def lent(self) -> int:
        """Chunks that were handed out and not given back."""
        return len(self._lent)

    async def next_chunk(self) -> memoryview | None:
        """The bytes that have arrived; None at the end.

        Raises TimeoutError when it stalls, OSError or aiohttp.ClientPayloadError when it breaks off.
        If `BUFFERS` chunks are lent, no buffer is free: give one back first.
        """
        while True:
            if self._full:
                return self._lend(self._full.popleft(), self._size)
            if self._filling is not None and self._fill:
                whole, self._filling = self._filling, None
                return self._lend(whole, self._fill)
            if not self._left:
                return None
            if self._error is not None:
                raise self._error
            await self._wait()

    def give_back(self) -> None:
        """The oldest chunk's bytes are not needed any more."""
        self._free.append(self._lent.popleft())
        if self._paused and self._left:
            self._paused = False
            self._transport.resume_reading()

    def stop(self) -> None:
        """Free the buffers; nobody reads any more. The creator must call this in the end."""
        # It may be part of a cycle that is found late: its buffers do not wait for that.
        self._free.clear()
        self._full.clear()
        self._filling = None
        _bodies_with_big.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- asyncio.BufferedProtocol ---

    def get_buffer(self, sizehint: int) -> memoryview:
        """The buffer for the next bytes; it never reaches beyond the body's end."""
        if self._filling is None:
            self._filling, self._fill = self._take_buffer(), 0
        return self._filling[self._fill : self._fill + self._left]

    def buffer_updated(self, nbytes: int) -> None:
        """`nbytes` came in."""
        self._fill += nbytes
        self._left -= nbytes
        if self._filling is not None and self._fill == self._size:
            self._full.append(self._filling)
            self._filling, self._fill = None, 0
        if not self._left or (self._filling is None and not self._free and self._made >= BUFFERS):
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """The server ended it; the transport closes itself."""
        self._break(aiohttp.ClientPayloadError("the body ended early"))

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.BaseProtocol; aiohttp's own part learns of it too."""
        self._break(exc or aiohttp.ClientPayloadError("the body ended early"))
        self._handler.connection_lost(exc)

    # --- inside ---

    def _take_buffer(self) -> memoryview:
        if self._free:
            return self._free.pop()
        self._made += 1
        return memoryview(bytearray(self._size))

    def _lend(self, whole: memoryview, size: int) -> memoryview:
        self._lent.append(whole)
        return whole[:size]

    def _break(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _wait(self) -> None:
        """Wait for bytes, the end or an error. One timer serves all waits: most are over long before it."""
        self._waiter = self._loop.create_future()
        self._waiting_since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._idle, self._look_at_time)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _look_at_time(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        left = self._waiting_since + self._idle - self._loop.time()
        if left <= 0:
            self._break(TimeoutError())
        else:
            self._timer = self._loop.call_later(left, self._look_at_time)


def take_over(raw: aiohttp.ClientResponse, length: int, idle: float) -> tuple[bytes, LargeBody | None]:
    """The bytes of the body of `raw` so far, and the rest; None if aiohttp has to read the rest.

    Nothing of the body may have been read. `length` is its Content-Length.
    Raises what aiohttp's reader raises for a body that is broken already.
    """
    connection, content = raw.connection, raw.content
    if connection is None or connection.protocol is None or raw.headers.get("Transfer-Encoding"):
        return b"", None
    parts = []
    # The parser holds bytes back while it is paused; they come with the next read.
    while chunk := content.read_nowait():
        parts.append(chunk)
    before = b"".join(parts)
    handler: Any = connection.protocol
    transport = connection.transport
    if len(before) >= length or content.at_eof() or handler._reading_paused or handler._buffer_paused:
        return before, None
    if not isinstance(transport, asyncio.Transport) or transport.is_closing():
        return before, None
    handler._drop_timeout()
    return before, LargeBody(handler, transport, length - len(before), idle)
