"""Calls between two processes over a socket: a JSON document a line, [id, name, arguments] and [-id, result]."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

LINE_LIMIT: Final = 8 * 1024 * 1024
"""Bytes; etcd takes documents of 1.5 MiB."""
WAITING_LIMIT: Final = 256 * 1024 * 1024
"""Bytes that wait for the other end."""
CALL_SECONDS: Final = 30.0

Handler = Callable[..., Any]
"""Takes the arguments of a call; a coroutine's result is waited for."""

log = logging.getLogger(__name__)


class LineLost(ConnectionError):
    """The other process is gone, or does not answer."""


class Line:
    """One end. `run` must run; a handler that fails fails the call alone."""

    def __init__(self, sock: socket.socket, handlers: Mapping[str, Handler]) -> None:
        sock.setblocking(False)
        self._sock, self._handlers = sock, handlers
        self._ids = itertools.count(1)
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def open(self) -> None:
        """Begin; before anything else."""
        self._reader, self._writer = await asyncio.open_connection(sock=self._sock, limit=LINE_LIMIT)

    async def run(self) -> None:
        """Take calls in until the other end is gone."""
        try:
            # A killed process may leave a partial last line.
            while (line := await self._reader.readline()).endswith(b"\n"):
                self._take(json.loads(line))
        except ConnectionError:
            pass
        except (ValueError, TypeError, LookupError) as error:
            log.warning("the other process said what is no message: %s", type(error).__name__)
        finally:
            for call in self._calls.values():
                if not call.done():
                    call.set_exception(LineLost("the other process is gone"))
            self._calls.clear()

    async def call(self, name: str, *arguments: Any) -> Any:
        """Call `name` at the other end and return its answer. Raises LineLost."""
        number = next(self._ids)
        answer = self._calls[number] = asyncio.get_running_loop().create_future()
        self.tell([number, name, arguments])
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await answer
        except TimeoutError:
            raise LineLost(f"no answer to {name} in {CALL_SECONDS:g} s") from None
        finally:
            self._calls.pop(number, None)

    def note(self, name: str, *arguments: Any) -> None:
        """Tell the other end something, without an answer."""
        self.tell([0, name, arguments])

    def forward(self, name: str, arguments: bytes) -> None:
        """As `note`, with arguments that are JSON already."""
        self._send(b'[0,"%s",%s]\n' % (name.encode(), arguments))

    def tell(self, message: list[Any]) -> None:
        """Send one line."""
        self._send(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def _send(self, line: bytes) -> None:
        """A line that is lost is noticed by `run`; an end that does not read for long is as good as gone."""
        if self._writer.is_closing():
            return
        self._writer.write(line)
        if self._writer.transport.get_write_buffer_size() > WAITING_LIMIT:
            log.warning("the other process takes nothing in any more")
            self._writer.transport.abort()

    async def drain(self) -> None:
        """Wait until what was told is not more than a little. Raises LineLost."""
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise LineLost("the other process is gone") from error

    async def close(self) -> None:
        """End it, and the calls that are being answered."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def _take(self, message: list[Any]) -> None:
        number = message[0]
        if number < 0:
            call = self._calls.get(-number)
            if call is not None and not call.done():
                call.set_result(message[1])
            return
        name, arguments = message[1:]
        handler, found = self._handlers[name], None
        try:
            found = handler(*arguments)
        except Exception:
            log.exception("%s failed", name)
        if asyncio.iscoroutine(found):
            task = asyncio.create_task(self._answer(number, name, found))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif number:
            self.tell([-number, found])

    async def _answer(self, number: int, name: str, working: Awaitable[Any]) -> None:
        found = None
        try:
            found = await working
        except Exception:
            log.exception("%s failed", name)
        if number:
            self.tell([-number, found])
