"""The ports of a proxy: the customers', and those that no customer reaches."""

from __future__ import annotations

import ssl
from typing import Final

from aiohttp import web
from aiohttp.log import server_logger

from pullgate.server_header import hide_versions
from pullgate.server_log import keep_content_out_of_logs
from pullgate.shares import Shares
from pullgate_proxy.listen.admission import Admission
from pullgate_proxy.listen.connections import Connections
from pullgate_proxy.listen.listener import Listener
from pullgate_proxy.settings import ProxySettings

SIDE_CONNECTIONS: Final = 32
"""Most connections of an admin port at once. Beyond that, the oldest idle one is closed.

So a client that forgets to close its connections keeps no probe out.
"""
LOBBY_PART: Final = 8
"""Connections that wait to begin are at most this part of those that may be open."""


class CannotListen(OSError):
    """A port is taken, or is not ours to take; the message says which and what to do."""


def cannot_listen(host: str, port: int, error: OSError, option: str) -> CannotListen:
    """Why `option` cannot have its port."""
    words = f"cannot listen on {host}:{port}: {error.strerror or error}; choose another with {option}"
    return CannotListen(words)


class CustomersPort:
    """The port that receives pulls."""

    def __init__(self, settings: ProxySettings, admission: Admission, server: Connections) -> None:
        """`server` answers the requests; it comes from `admission`."""
        self._settings, self._admission, self._server = settings, admission, server
        self._runner = web.ServerRunner(server, shutdown_timeout=settings.drain_seconds)
        self._listener: Listener | None = None

    async def open(self, context: ssl.SSLContext | None) -> int:
        """Listen; the port. Raises CannotListen."""
        hide_versions()
        keep_content_out_of_logs(server_logger)
        await self._runner.setup()
        self._listener = Listener(
            lambda sock, address: self._server.take(sock, address, context),
            self._server.has_room,
            self._admission.make_room,
            stall_seconds=self._settings.stall_timeout,
            lobby=self._server.limit // LOBBY_PART,
        )
        host, port = self._settings.listen_host, self._settings.listen_port
        try:
            await self._listener.start(host, port)
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
    """For probes, metrics, or other replicas. No connection is refused."""

    def __init__(self, app: web.Application, settings: ProxySettings, connections: int = SIDE_CONNECTIONS) -> None:
        """`connections` at once; of more, the oldest idle one is closed."""
        self._settings, self._connections = settings, connections
        self._app = web.AppRunner(app, access_log=None)
        self._runner: web.ServerRunner | None = None
        self._listener: Listener | None = None

    async def open(self, host: str, port: int, option: str) -> int:
        """Listen; the port. Raises CannotListen, which names `option`."""
        hide_versions()
        keep_content_out_of_logs(server_logger)
        await self._app.setup()
        server = self._build_server()
        self._runner = web.ServerRunner(server)
        await self._runner.setup()
        self._listener = Listener(
            lambda sock, address: server.take(sock, address, None),
            # If no connection is idle, accept one over the limit: no answer in flight is ended for it.
            lambda: server.has_room() or not server.idle,
            lambda: server.close_oldest(1),
            stall_seconds=self._settings.stall_timeout,
        )
        try:
            await self._listener.start(host, port)
        except OSError as error:
            raise cannot_listen(host, port, error, option) from error
        return self._listener.port

    async def close(self) -> None:
        """Answer no more."""
        if self._listener is not None:
            self._listener.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._app.cleanup()

    def _build_server(self) -> Connections:
        made = self._app.server
        if made is None:
            raise RuntimeError("the application is not set up")
        return Connections(
            made.request_handler,
            self._connections,
            Shares("bodies"),
            lambda _: None,
            request_factory=made.request_factory,
            keepalive_timeout=self._settings.keepalive_timeout,
        )
