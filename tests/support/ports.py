"""Addresses that fail in a known way, before any HTTP is spoken."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Iterator

UNRESOLVABLE_HOST = "registry.invalid"
"""No resolver knows it (RFC 6761, section 6.4)."""


_BELOW_EPHEMERAL = range(20_000, 32_768)
"""Linux takes none of these for an outgoing connection, which would hold it when the server comes to bind it."""
_given: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free now, and is given once. Another process may take it first, though hardly."""
    while True:
        port = secrets.choice(_BELOW_EPHEMERAL)
        if port in _given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            _given.add(port)
            return port


@contextlib.contextmanager
def dead_port(host: str = "127.0.0.1") -> Iterator[str]:
    """host:port that refuses connections: it is bound, so nobody else gets it, but not listened on."""
    with socket.socket() as bound:
        bound.bind((host, 0))
        yield f"{host}:{bound.getsockname()[1]}"


class Blackhole:
    """Takes connections and whatever is sent, and never answers."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._bind = host
        self.host = ""
        """host:port"""
        self.connections = 0
        """How many were accepted so far."""
        self._held: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Blackhole:
        self._server = await asyncio.start_server(self._swallow, self._bind, 0)
        self.host = f"{self._bind}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._held:
            writer.transport.abort()
        await asyncio.gather(*self._tasks)

    async def _swallow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._held.add(writer)
        if (task := asyncio.current_task()) is not None:
            self._tasks.add(task)
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass
        self._held.discard(writer)
        writer.transport.abort()


@contextlib.asynccontextmanager
async def unaccepting_port(host: str = "127.0.0.1") -> AsyncIterator[str]:
    """host:port where connecting takes for ever: its queue of connections is full and Linux drops what comes next."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            try:
                async with asyncio.timeout(0.2):
                    await loop.sock_connect(filler, address)
            except TimeoutError:
                yield f"{host}:{address[1]}"
                return
        raise RuntimeError("this kernel takes more connections than were asked for: no port can be made unaccepting")
