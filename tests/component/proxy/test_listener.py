"""A crowd of connections from one address delays no client of another."""

from __future__ import annotations

import asyncio
import socket

from pullgate_proxy.listen.listener import ACCEPT_AT_ONCE, AT_ONCE, Listener

LOBBY = ACCEPT_AT_ONCE
CROWD = 3 * LOBBY


async def connect(source: str, port: int) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind((source, 0))
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


class Clients:
    """Takes the connections, and keeps the order in which they began."""

    def __init__(self, lobby: int = LOBBY) -> None:
        self.room = True
        self.sources: list[str] = []
        self._taken: list[socket.socket] = []
        self.listener = Listener(self._take, lambda: self.room, lambda: None, stall_seconds=5.0, lobby=lobby)

    def _take(self, sock: socket.socket, address: str) -> None:
        self._taken.append(sock)
        self.sources.append(address)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.sources) < count:
                await asyncio.sleep(0)

    def close(self) -> None:
        self.listener.close()
        for sock in self._taken:
            sock.close()


async def test_a_client_of_another_address_begins_before_a_crowd_that_came_first() -> None:
    clients = Clients()
    await clients.listener.start("127.0.0.1", 0)
    clients.room = False
    waiting = [await connect("127.0.0.2", clients.listener.port) for _ in range(LOBBY // 2)]
    waiting.append(await connect("127.0.0.3", clients.listener.port))
    clients.room = True
    await clients.until(len(waiting))
    assert clients.sources.index("127.0.0.3") < AT_ONCE
    clients.close()


async def test_every_connection_of_a_crowd_begins_and_few_in_one_turn_of_the_loop() -> None:
    clients = Clients()
    await clients.listener.start("127.0.0.1", 0)
    waiting = [await connect("127.0.0.2", clients.listener.port) for _ in range(CROWD)]
    most, before = 0, len(clients.sources)
    async with asyncio.timeout(10):
        while len(clients.sources) < len(waiting):
            await asyncio.sleep(0)
            most, before = max(most, len(clients.sources) - before), len(clients.sources)
    assert most <= 2 * AT_ONCE  # one from the port's event, one that was due
    clients.close()


async def test_what_was_accepted_before_the_end_is_handed_on() -> None:
    clients = Clients()
    await clients.listener.start("127.0.0.1", 0)
    waiting = [await connect("127.0.0.2", clients.listener.port) for _ in range(LOBBY)]
    await clients.until(1)
    accepted = len(clients.sources) + len(clients.listener._lobby)
    clients.close()
    assert len(clients.sources) == accepted <= len(waiting)
