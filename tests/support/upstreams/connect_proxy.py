"""A forward proxy as squid and tinyproxy are: CONNECT, and the absolute form for http (RFC 9110, section 9.3.6)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit


class ConnectProxy:
    """Resolves names by `names` (name -> host:port) alone. Remembers what it was asked, and with which login."""

    def __init__(
        self,
        names: Mapping[str, str],
        *,
        login: str = "",
        answer: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`login`: the Proxy-Authorization that it wants (407 without, as squid). `answer`: this status to all."""
        self._names, self._login, self._answer, self._tls = names, login, answer, tls
        self.asked: list[str] = []
        """Method and target of each request."""
        self.heads: list[str] = []
        """The head of each request, as text."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ConnectProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.host = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._forward(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1")
        self.heads.append(head)
        method, target, _ = head.partition("\r\n")[0].split(" ")
        self.asked.append(f"{method} {target}")
        status = self._status(head, target if method == "CONNECT" else urlsplit(target).netloc)
        if isinstance(status, int):
            writer.write(b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
            await writer.drain()
            return
        host, _, port = status.rpartition(":")
        upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                upstream_writer.write(_origin_form(head).encode("latin1"))
            await asyncio.gather(_copy(reader, upstream_writer), _copy(upstream_reader, writer))
        finally:
            upstream_writer.close()

    def _status(self, head: str, target: str) -> int | str:
        if self._answer is not None:
            return self._answer
        if self._login and f"proxy-authorization: {self._login}".lower() not in head.lower():
            return 407
        return self._names.get(target.rpartition(":")[0] or target, 502)


def _origin_form(head: str) -> str:
    """The request as it goes on: without the proxy's own header, one request a connection."""
    line, _, rest = head.partition("\r\n")
    method, target, version = line.split(" ")
    parts = urlsplit(target)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kept = [each for each in rest.split("\r\n") if each and not each.lower().startswith(("proxy-", "connection:"))]
    return "\r\n".join([f"{method} {path} {version}", *kept, "Connection: close", "", ""])


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.write_eof() if writer.can_write_eof() else writer.close()
