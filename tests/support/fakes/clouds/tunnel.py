"""An HTTP proxy for HTTPS_PROXY that leads the clouds' own names to servers of this test."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self


class Tunnel:
    """Answers CONNECT, and connects to `target` (host:port), or where `places` says for that name."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.places: dict[str, str] = {}
        """Name -> host:port."""
        self.names: list[str] = []
        """The names that were requested."""
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled where the test ends before its clients' connections do.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            name = head.split()[1].decode().rpartition(":")[0]
            self.names.append(name)
            host, _, port = self.places.get(name, self._target).rpartition(":")
            up_reader, up_writer = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
