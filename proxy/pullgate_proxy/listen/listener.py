"""A port that is listened on.

asyncio's own server logs a line for each place of its queue, again and again, while there is no descriptor for a
connection, and tells nobody of a connection before its TLS handshake is done.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from pullgate_proxy.request.origin import source_of

BACKLOG: Final = 1024
"""Connections that the kernel keeps while none is accepted; net.core.somaxconn may make it fewer."""
AT_ONCE: Final = 4
"""Connections that begin before anything else gets its turn: each costs 0.15 ms."""
ACCEPT_AT_ONCE: Final = 64
"""Connections that are accepted before anything else gets its turn: each costs 0.01 ms."""
LOBBY: Final = 512
"""Most connections that were accepted and wait to begin."""
PAUSE: Final = 0.1
"""Seconds without accepting, after there was no descriptor or memory for it."""
MOMENT: Final = 0.02
"""Seconds without accepting, while there is no room for a connection."""
QUIET: Final = 60.0
"""Seconds between two log lines about that."""
_LACK: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = logging.getLogger(__name__)

Take = Callable[[socket.socket, str], None]
"""Takes over an accepted socket and the address that it comes from. The receiver owns the socket."""


class _Lobby:
    """Accepted connections that wait to begin. The sources are served in turn: a crowd from one delays no other."""

    def __init__(self) -> None:
        self._sources: OrderedDict[str, deque[tuple[socket.socket, str]]] = OrderedDict()
        """The source that is served next is first."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, sock: socket.socket, address: str) -> None:
        """Add a connection that comes from `address`."""
        self._sources.setdefault(source_of(address), deque()).append((sock, address))
        self._count += 1

    def take(self) -> tuple[socket.socket, str]:
        """The next one. Raises KeyError if none waits."""
        source, waiting = self._sources.popitem(last=False)
        taken = waiting.popleft()
        self._count -= 1
        if waiting:
            self._sources[source] = waiting
        return taken


class Listener:
    """Accepts connections and hands them on.

    The kernel's queue knows no sources. So connections leave it as fast as they can, and wait here for their turn.
    """

    def __init__(
        self,
        take: Take,
        has_room: Callable[[], bool],
        on_lack: Callable[[], None],
        *,
        stall_seconds: float,
        lobby: int = AT_ONCE,
    ) -> None:
        """`has_room` says whether one may be accepted; `on_lack` makes room if no descriptor is free.

        The kernel ends a connection on which a client has taken no byte for `stall_seconds` while some wait to be sent
        (tcp(7), TCP_USER_TIMEOUT). `lobby` connections may wait to begin; each has a descriptor.
        """
        self._take, self._has_room, self._on_lack, self._stall = take, has_room, on_lack, stall_seconds
        self._lobby, self._lobby_limit = _Lobby(), max(min(lobby, LOBBY), AT_ONCE)
        self._beginning = False
        self._sockets: list[socket.socket] = []
        self._resuming: dict[socket.socket, asyncio.TimerHandle] = {}
        self._quiet_until = 0.0

    @property
    def port(self) -> int:
        """The port of the first address."""
        return int(self._sockets[0].getsockname()[1])

    async def start(self, host: str, port: int) -> None:
        """Listen on each address of `host`. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
                listening = socket.create_server(address, family=family, backlog=BACKLOG)
                self._sockets.append(listening)
                listening.setblocking(False)
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._stall * 1000))
        except OSError:
            self.close()
            raise
        for listening in self._sockets:
            loop.add_reader(listening, self._accept, listening)

    def close(self) -> None:
        """Listen no more; connections that were accepted go on."""
        loop = asyncio.get_running_loop()
        for handle in self._resuming.values():
            handle.cancel()
        for listening in self._sockets:
            loop.remove_reader(listening)
            listening.close()
        self._sockets, self._resuming = [], {}
        while self._lobby:
            self._take(*self._lobby.take())

    def _accept(self, listening: socket.socket) -> None:
        if not self._has_room():
            self._pause(listening, MOMENT)
            return
        for _ in range(min(self._lobby_limit - len(self._lobby), ACCEPT_AT_ONCE)):
            try:
                sock, address = listening.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _LACK:
                    self._pause(listening, PAUSE)
                    self._tell(error)
                    self._on_lack()
                    break
                continue  # a client that is gone already, or an error of the network (accept(2))
            self._lobby.put(sock, str(address[0]))
        if not self._beginning:
            self._begin()

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(AT_ONCE):
            if not self._lobby:
                break
            if not self._has_room():
                self._beginning = True
                loop.call_later(MOMENT, self._begin)
                return
            self._take(*self._lobby.take())
        self._beginning = bool(self._lobby)
        if self._beginning:
            loop.call_soon(self._begin)

    def _pause(self, listening: socket.socket, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        self._resuming[listening] = loop.call_later(seconds, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        del self._resuming[listening]
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _tell(self, error: OSError) -> None:
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET
            log.warning("a connection waits: %s; the oldest idle ones are closed", error.strerror)
