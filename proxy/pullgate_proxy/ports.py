"""The ports of a proxy: the customers', and those that no customer reaches."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

from aiohttp import web

from pullgate_proxy.admission import Admission
from pullgate_proxy.connections import Connections
from pullgate_proxy.listener import Listener
from pullgate_proxy.settings import ProxySettings

SIDE_CONNECTIONS: Final = 32
"""Of an admin port, at once; of more, the oldest is closed: whoever forgets to close his keeps no probe out of it."""


class CannotListen(OSError):
    """A port is taken, or is not ours to take; the message says which and what to do."""


def cannot_listen(host: str, port: int, error: OSError, option: str) -> CannotListen:
    """Why `option` cannot have its port."""
    words = f"cannot listen on {host}:{port}: {error.strerror or error}; choose another with {option}"
    return CannotListen(words)


class CustomersPort:
    """Where pulls come in."""

    def __init__(self, settings: ProxySettings, admission: Admission, server: Connections) -> None:
        """`server` is of `admission`, and answers."""
        self._settings, self._admission, self._server = settings, admission, server
        self._runner = web.ServerRunner(server, shutdown_timeout=settings.drain_seconds)
        self._listener: Listener | None = None

    async def open(self, context: ssl.SSLContext | None) -> int:
        """Listen; the port. Raises CannotListen."""
        await self._runner.setup()
        self._listener = Listener(
            lambda sock, address: self._server.take(sock, address, context),
            self._server.has_room,
            self._admission.make_room,
            stall_seconds=self._settings.stall_timeout,
        )
        host, port = self._settings.listen_host, self._settings.listen_port
        try:
            await self._listener.start(host, port, reuse_port=self._settings.share_port)
        except OSError as error:
            raise cannot_listen(host, port, error, "--listen") from error
        return self._listener.port

    async def close(self) -> None:
        """Accept no more, and let bodies finish up to the drain bound."""
        if self._listener is not None:
            self._listener.close()
            self._server.stop_beginning()
        await self._runner.cleanup()


class SidePort:
    """For probes, metrics, or other replicas."""

    def __init__(self, app: web.Application, settings: ProxySettings, connections: int = SIDE_CONNECTIONS) -> None:
        """`connections` at once; of more, the oldest is closed."""
        self._settings, self._connections = settings, connections
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=settings.keepalive_timeout)
        self._listener: Listener | None = None

    async def open(self, host: str, port: int, option: str, *, reuse_port: bool = False) -> int:
        """Listen; the port. Raises CannotListen, which names `option`."""
        await self._runner.setup()
        take = _serve_connections(self._runner, self._connections)
        self._listener = Listener(take, stall_seconds=self._settings.stall_timeout)
        try:
            await self._listener.start(host, port, reuse_port=reuse_port)
        except OSError as error:
            raise cannot_listen(host, port, error, option) from error
        return self._listener.port

    async def close(self) -> None:
        """Answer no more."""
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()


def _serve_connections(runner: web.AppRunner, limit: int) -> Callable[[socket.socket, str], None]:
    """What is done with a connection. `runner` was set up."""
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is not set up")
    beginning: set[asyncio.Task[None]] = set()

    async def begin(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(server, sock)

    def take(sock: socket.socket, _: str) -> None:
        connections = [each for each in server.connections if each.transport is not None]  # the others are closing
        if len(connections) >= limit:
            connections[0].force_close()
        task = asyncio.get_running_loop().create_task(begin(sock))
        beginning.add(task)
        task.add_done_callback(beginning.discard)

    return take
