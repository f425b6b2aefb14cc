"""HTTP/1.1 by hand, for servers that must be able to break it: cut, reset, hang, lie about lengths, send garbage."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import http
import socket
import struct
import termios
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from urllib.parse import parse_qsl

from multidict import CIMultiDict, MultiDict

from tests.support.content import PIECE, Bytes, Content

HEAD_LIMIT = 256 * 1024


class Ending(Enum):
    """The end of a connection in the middle of an answer."""

    CLOSE = "close"
    """An orderly end (FIN), where more was announced."""
    RESET = "reset"
    """A RST, after the client's kernel has all that was sent before."""
    HANG = "hang"
    """Nothing more, until the stop's gate opens; without a gate until the client leaves."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The point at which an answer stops, and how."""

    how: Ending
    at: int | None = None
    """Body bytes that are sent before; None: not even the status line."""
    gate: asyncio.Event | None = None
    """For HANG: once it is set, the answer goes on."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came."""

    method: str
    target: str
    """Path and query, undecoded."""
    headers: CIMultiDict[str] = field(repr=False)
    body: bytes = field(repr=False)
    connection: int
    """The number of the connection, from 1."""

    @property
    def path(self) -> str:
        """The path, undecoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> MultiDict[str]:
        """The query, decoded."""
        return MultiDict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        """A form's fields, decoded."""
        return dict(parse_qsl(self.body.decode("latin-1"), keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and how its sending goes wrong. Nothing is checked: headers go out as they are."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    """Content-Length (or chunked, where the body's size is unknown) is added unless it is among them."""
    content: Content = field(default_factory=lambda: Bytes(b""), repr=False)
    reason: str | None = None
    head: bytes | None = None
    """Sent instead of the status line and the headers."""
    stop: Stop | None = None
    whole: Content | None = field(default=None, repr=False)
    """The body before a Range was cut out of it."""
    piece: int = PIECE
    """Bytes that are written at once."""
    pause: float = 0.0
    """Seconds between two pieces."""

    def with_header(self, name: str, value: str | None) -> Reply:
        """This, with the header set anew, or gone where `value` is None."""
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return replace(self, headers=kept if value is None else (*kept, (name, value)))

    def header(self, name: str) -> str | None:
        """A header's (first) value."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def chunked(self) -> bool:
        """True if the body is sent in chunks, since its size is unknown."""
        return self.content.size is None and self.header("Content-Length") is None

    def encode_head(self) -> bytes:
        """Status line, headers and the empty line."""
        if self.head is not None:
            return self.head
        reason = self.reason
        if reason is None:
            reason = http.HTTPStatus(self.status).phrase if self.status in set(http.HTTPStatus) else "Unknown"
        lines = [f"HTTP/1.1 {self.status} {reason}", *(f"{name}: {value}" for name, value in self.headers)]
        if self.chunked():
            lines.append("Transfer-Encoding: chunked")
        elif self.header("Content-Length") is None and self.status not in (204, 304):
            lines.append(f"Content-Length: {self.content.size}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")

    def pieces(self) -> Iterator[bytes | Stop]:
        """The body in pieces, and the stop where it stands."""
        left = self.stop.at if self.stop else None
        for chunk in self.content.chunks():
            while chunk:
                if left == 0 and self.stop:
                    yield self.stop
                    left = None
                take = self.piece if left is None else min(left, self.piece)
                yield chunk[:take]
                left = None if left is None else left - len(chunk[:take])
                chunk = chunk[take:]
        if left == 0 and self.stop:
            yield self.stop


class NotHttp(Exception):
    """The client speaks something else, most likely TLS."""


async def read_request(reader: asyncio.StreamReader, connection: int) -> Request | None:
    """The next request; None if the client is done (or talks nonsense). Raises NotHttp."""
    try:
        first_byte = await reader.readexactly(1)
        if not first_byte.isalpha():
            raise NotHttp
        head = first_byte + await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers: CIMultiDict[str] = CIMultiDict()
        for line in filter(None, lines):
            name, _, value = line.partition(":")
            headers.add(name, value.strip())
        body = await reader.readexactly(int(headers.get("Content-Length", "0")))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
        return None
    return Request(method, target, headers, body, connection)


class Line:
    """One connection's sending side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.body_bytes = 0
        """Body bytes handed to the kernel so far."""
        # So that drain() returns when the kernel has everything (0 would never resume a TLS transport).
        writer.transport.set_write_buffer_limits(high=1, low=0)

    async def send(self, reply: Reply, *, with_body: bool) -> bool:
        """Send `reply`. False if the connection is over with it. Raises ConnectionError if the client left."""
        if reply.stop and reply.stop.at is None and not await self.end(reply.stop):
            return False
        self._writer.write(reply.encode_head())
        if not with_body:
            await self._writer.drain()
            return reply.head is None
        for piece in reply.pieces():
            if isinstance(piece, Stop):
                if not await self.end(piece):
                    return False
                continue
            self._writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if reply.chunked() else piece)
            await self._writer.drain()
            self.body_bytes += len(piece)
            if reply.pause:
                await asyncio.sleep(reply.pause)
        if reply.chunked():
            self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()
        # After a head by hand nobody knows where the next answer would begin.
        return reply.head is None

    async def end(self, stop: Stop) -> bool:
        """Do what `stop` says. True if the answer goes on."""
        await self._writer.drain()
        if stop.how is Ending.HANG:
            return await self._wait(stop.gate or asyncio.Event())
        if stop.how is Ending.RESET:
            await self._reset()
        return False

    async def _wait(self, gate: asyncio.Event) -> bool:
        """True once the gate is open, False if the client leaves first."""
        opened = asyncio.create_task(gate.wait())
        left = asyncio.create_task(self._reader.read(1))
        try:
            await asyncio.wait((opened, left), return_when=asyncio.FIRST_COMPLETED)
            return opened.done()
        finally:
            for task in (opened, left):
                task.cancel()
            await asyncio.gather(opened, left, return_exceptions=True)

    async def _reset(self) -> None:
        """End with a RST, once the client's kernel has all that was sent (a RST throws away what is under way)."""
        raw: socket.socket | None = self._writer.get_extra_info("socket")
        if raw is None:
            return  # the client was faster
        # Asked again and again: the kernel tells nobody when all is acknowledged.
        while self._writer.transport.get_write_buffer_size() or _unacknowledged(raw):
            await asyncio.sleep(0.001)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def close(self) -> None:
        """End in order, as far as that is still possible."""
        self._writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError, OSError):
            async with asyncio.timeout(1):
                await self._writer.wait_closed()


def _unacknowledged(raw: socket.socket) -> int:
    """Bytes that were sent and not yet acknowledged (Linux: SIOCOUTQ)."""
    count = array.array("i", [0])
    fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, count)
    return count[0]
