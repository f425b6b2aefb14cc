"""Bounds on clients' connections: their number, the memory of each, and the one to close when there are too many.

A connection is idle from its acceptance to its first whole request, while its client sends a body, and from the end of
an answer to the next request. An idle one can be closed at any time without harm to a pull: clients open another.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import resource
import socket
import ssl
import sys
import termios
from asyncio import sslproto
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from aiohttp import web

from pullgate.shares import Holder, Loan, Shares
from pullgate_proxy.request.origin import source_of

HEAD_LIMIT: Final = 32 * 1024
"""Bytes of a request's head. aiohttp alone would keep 128 fields of 8 KiB each: 1.6 MiB of memory for a connection."""
READ_AT_ONCE: Final = 32 * 1024
"""Bytes that are read from a client in one go; what it sends is small."""
BODY_BUFFER: Final = 16 * 1024
"""Bytes of a client's body that wait to be read."""
SHARE: Final = 2
"""At the limit, a source with more than limit/SHARE idle connections loses its oldest idle one to its new one.

For any other source, the oldest idle connection of all is closed.
"""
GRACE: Final = 0.05
"""Seconds for which an idle connection is left alone: a client that has just connected is about to speak."""
HANDSHAKE_SECONDS: Final = 30
LOOK_SECONDS: Final = 0.05
"""So often a connection that ends is looked at for what its client has not received yet."""

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def raise_descriptor_limit() -> int:
    """Take as many file descriptors as the process may have; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft


class _ServerTLS(sslproto.SSLProtocol):
    """asyncio's TLS. Its own buffer for what a client sends makes an idle connection 281 KiB; so it is 57."""

    max_size = READ_AT_ONCE


class Connection(web.RequestHandler):
    """One client's connection, known from its acceptance on: also while its TLS handshake hangs."""

    __slots__ = ("_book", "_ends", "_head", "loan", "raw", "source", "unwanted")

    def __init__(self, book: Connections, source: str, **options: Any) -> None:
        """`source` is where it comes from, as `source_of` says it."""
        super().__init__(book, loop=asyncio.get_running_loop(), **options)
        self._book, self._head, self._ends = book, 0, False
        self.source = source
        self.loan: Loan | None = None
        """The bytes of the budget that the answer takes while it is sent."""
        self.raw: asyncio.Transport | None = None
        """The transport below TLS; it exists before the handshake is done."""
        self.unwanted = False
        """True if it was closed before it began."""

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol. A head that has no end is not kept."""
        super().data_received(data)
        if self._messages:
            self._head = 0
            self._book.work(self)  # not only when it is begun with: who has spoken is heard
        elif self._waiter is not None:
            self._head += len(data)
            if self._head > HEAD_LIMIT:
                self._book.close_one(self, "head")

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """See RequestHandler: sends what is not sent yet; then the connection is idle."""
        try:
            finished = await super().finish_response(request, resp, start_time)
            if self._ends:
                await self._until_received(None)
            return finished
        finally:
            self._book.rest(self)

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """See RequestHandler: an answer may take `timeout`, until its client's system has received all of it.

        Bytes still in the kernel's send buffer are lost with a pod: its network goes as soon as its process ends.
        """
        self._ends = True
        if self._book.is_idle(self):
            await self._until_received(timeout)
        await super().shutdown(timeout)

    async def _until_received(self, timeout: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._is_sending():  # noqa: ASYNC110 - the kernel tells nobody
                    await asyncio.sleep(LOOK_SECONDS)

    def _is_sending(self) -> bool:
        """True if bytes were sent that the client's system has not acknowledged, or wait to be sent."""
        if self.raw is None or self.raw.is_closing() or self.transport is None:
            return False
        if self.transport.get_write_buffer_size() or self.raw.get_write_buffer_size():
            return True
        sock = self.raw.get_extra_info("socket")
        with contextlib.suppress(OSError):
            return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder) > 0
        return False

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """See RequestHandler. A client that is gone is not our error: no traceback for it in the log."""
        if isinstance(exc, ConnectionError):
            raise exc
        return super().handle_error(request, status, exc, message)

    def cut(self) -> None:
        """End it at once."""
        self.unwanted = True
        if self.raw is not None:
            self.raw.abort()


class Connections(web.Server):
    """All connections of clients. Every step is O(1) in their number."""

    def __init__(
        self,
        handle: Handle,
        limit: int,
        bodies: Shares,
        on_closed: Callable[[str], None],
        request_factory: Callable[..., web.BaseRequest] | None = None,
        **options: Any,
    ) -> None:
        """`limit` is how many there may be; `on_closed` receives the reason of each close: room, head.

        `request_factory` makes another request than aiohttp's BaseRequest; `options` are those of its RequestHandler.
        """
        super().__init__(handle, request_factory=request_factory)
        self.limit = limit
        self._bodies, self._on_closed = bodies, on_closed
        self._clock = asyncio.get_running_loop().time
        self._options = {"access_log": None, "auto_decompress": False, "read_bufsize": BODY_BUFFER, **options}
        self._open: set[Connection] = set()
        self._idle: OrderedDict[Connection, float] = OrderedDict()
        """Since when, by the loop's clock. The one that has been idle longest is first, as in each of the next."""
        self._idle_of: dict[str, OrderedDict[Connection, None]] = {}
        self._beginning: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._open)

    @property
    def idle(self) -> int:
        """How many of them are idle."""
        return len(self._idle)

    def is_idle(self, connection: Connection) -> bool:
        """True if `connection` is idle."""
        return connection in self._idle

    # --- their life ---

    def has_room(self) -> bool:
        """True if a connection should be accepted now; if False, try again in a moment."""
        if len(self._open) < self.limit:
            return True
        return self._oldest() is not None

    def take(self, sock: socket.socket, address: str, tls: ssl.SSLContext | None) -> None:
        """Take over a connection that was accepted from `address`; at the limit, close an idle one for it."""
        source = source_of(address)
        if len(self._open) >= self.limit:
            self._make_room(source)
        connection = Connection(self, source, **self._options)
        self._open.add(connection)
        self._put(connection)
        task = asyncio.get_running_loop().create_task(self._begin(connection, sock, tls))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: Connection, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        protocol: asyncio.BaseProtocol = connection
        if tls is None:
            ready.set_result(None)
        else:
            protocol = _ServerTLS(
                loop, connection, tls, ready, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock)
            transport.max_size = READ_AT_ONCE  # type: ignore[attr-defined]
            connection.raw = transport
            if connection.unwanted:
                transport.abort()
            await ready
        except OSError:
            self._forget(connection)  # no TLS, or a client that is gone

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """See aiohttp's Server."""
        super().connection_lost(handler, exc)
        if isinstance(handler, Connection):
            self._forget(handler)

    def stop_beginning(self) -> None:
        """End the connections whose TLS handshake is not done."""
        for connection in [c for c in self._idle if c.transport is None]:
            connection.cut()

    # --- their requests ---

    def work(self, connection: web.RequestHandler) -> None:
        """A request has come, and will be answered: its connection is not idle."""
        if isinstance(connection, Connection):
            self._remove(connection)

    def rest(self, connection: Connection) -> None:
        """An answer was sent, or a client is slow to send: the connection is idle."""
        self._give_back(connection)
        if connection in self._open:
            self._put(connection)

    @contextlib.contextmanager
    def waiting(self, http: web.BaseRequest) -> Iterator[None]:
        """While it waits for more of a request's body, the connection is as idle as one that says nothing."""
        connection = http.protocol
        if isinstance(connection, Connection):
            self.rest(connection)
        try:
            yield
        finally:
            self.work(connection)

    def hold(self, http: web.BaseRequest, size: int, *holders: Holder) -> None:
        """An answer of `size` bytes to `holders` will be sent from memory. Raises ShareReached, Overloaded."""
        connection = http.protocol
        if size and isinstance(connection, Connection):
            self._give_back(connection)
            connection.loan = Loan(self._bodies, holders)
            connection.loan.grow_to(size)

    def _give_back(self, connection: Connection) -> None:
        """The answer was sent, or its connection is gone."""
        if connection.loan is not None:
            connection.loan.give_back()
            connection.loan = None

    # --- making room ---

    def close_oldest(self, count: int) -> None:
        """Close the `count` connections that have been idle longest; skips those inside their grace period."""
        for _ in range(count):
            oldest = self._oldest()
            if oldest is None:
                return
            self.close_one(oldest, "room")

    def close_one(self, connection: Connection, why: str) -> None:
        """Close a connection at once; `on_closed` receives `why`."""
        self._forget(connection)
        connection.cut()
        self._on_closed(why)

    def _oldest(self) -> Connection | None:
        """The connection that has been idle longest, if its grace period is over; else None."""
        oldest = next(iter(self._idle), None)
        return oldest if oldest is not None and self._clock() - self._idle[oldest] >= GRACE else None

    def _make_room(self, source: str) -> None:
        """Close the oldest idle connection: that of `source` if it exceeds its share, else that of all."""
        own = self._idle_of.get(source)
        if own is not None and len(own) > self.limit // SHARE:
            self.close_one(next(iter(own)), "room")
        else:
            self.close_oldest(1)

    def _put(self, connection: Connection) -> None:
        self._idle[connection] = self._clock()
        own = self._idle_of.get(connection.source)
        if own is None:
            own = self._idle_of[connection.source] = OrderedDict()
        own[connection] = None

    def _remove(self, connection: Connection) -> None:
        if connection not in self._idle:
            return
        del self._idle[connection]
        own = self._idle_of[connection.source]
        del own[connection]
        if not own:
            del self._idle_of[connection.source]

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._remove(connection)
        self._give_back(connection)
