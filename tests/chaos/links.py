"""A TCP link that can be made to misbehave: what a cable, a firewall or a middlebox does to a connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, Self

CHUNK: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Toxic:
    """Faults of each connection, or of the bytes from the server to the client."""

    refuse: bool = False
    """True if nobody listens."""
    end_after: int | None = None
    """Bytes after which the connection ends."""
    reset: bool = False
    """True if it ends with RST instead of FIN."""
    flip_every: int | None = None
    """Bytes between two of which one bit is wrong; headers stay whole."""
    bytes_per_second: int | None = None
    hang_after: int | None = None
    """Bytes after which the link sends nothing more."""
    answer: bytes | None = None
    """The answer to each request, instead of the server's."""


class Link:
    """Listens, and forwards to `target`; `toxic` also applies to open connections."""

    def __init__(self, target: str, tls: ssl.SSLContext | None = None) -> None:
        """`target` is host:port, in plain TCP; with `tls` the link's own side speaks TLS."""
        host, _, port = target.rpartition(":")
        self._target, self._tls = (host, int(port)), tls
        self.host = ""
        """host:port of the link."""
        self.toxic: Toxic | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._listen(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        """The port of the link."""
        return int(self.host.rpartition(":")[2])

    async def poison(self, toxic: Toxic | None) -> None:
        """Misbehave from now on; None ends it. Drops open connections if the toxic needs new ones."""
        before, self.toxic = self.toxic, toxic
        if toxic is not None and (toxic.refuse or toxic.answer is not None):
            self.drop()
        if toxic is not None and toxic.refuse:
            await self._close()
        elif before is not None and before.refuse:
            await self._listen(self.port)
        if before is not None and (before.hang_after is not None or before.answer is not None):
            self.drop()

    @contextlib.asynccontextmanager
    async def poisoned(self, toxic: Toxic) -> AsyncIterator[None]:
        """Misbehave while the context is open."""
        await self.poison(toxic)
        try:
            yield
        finally:
            await self.poison(None)

    def drop(self) -> None:
        """End every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _listen(self, port: int) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, ssl=self._tls, backlog=512)
        self.host = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.drop()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                if self.toxic is not None and self.toxic.answer is not None:
                    await self._answer(reader, writer, self.toxic.answer)
                else:
                    await self._pass(reader, writer)
        except asyncio.CancelledError:
            return  # the link is taken down
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._target)
        self._writers.add(up_writer)
        forth = asyncio.create_task(_copy(reader, up_writer, lambda _: None))
        back = asyncio.create_task(self._spoil(up_reader, writer))
        try:
            await asyncio.wait({forth, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (forth, back):
                task.cancel()
            await asyncio.gather(forth, back, return_exceptions=True)
            self._writers.discard(up_writer)
            up_writer.transport.abort()

    async def _spoil(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while data := await reader.read(CHUNK):
            toxic = self.toxic
            if toxic is None:
                passed = 0  # a toxic counts from its own beginning
            else:
                if toxic.hang_after is not None and passed >= toxic.hang_after:
                    await asyncio.sleep(3600)
                if toxic.end_after is not None and passed + len(data) > toxic.end_after:
                    writer.write(data[: max(toxic.end_after - passed, 0)])
                    await writer.drain()
                    _end(writer, reset=toxic.reset)
                    return
                if (
                    toxic.flip_every is not None
                    and passed // toxic.flip_every != (passed + len(data)) // toxic.flip_every
                ):
                    data = data[:-1] + bytes([data[-1] ^ 1])
                if toxic.bytes_per_second is not None:
                    await asyncio.sleep(len(data) / toxic.bytes_per_second)
                passed += len(data)
            writer.write(data)
            await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_data: Callable[[bytes], None]) -> None:
    while data := await reader.read(CHUNK):
        on_data(data)
        writer.write(data)
        await writer.drain()


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    connection = writer.get_extra_info("socket")
    if reset and connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()
