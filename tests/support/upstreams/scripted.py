"""A server that answers as it should until a script says otherwise, and remembers every request."""

from __future__ import annotations

import asyncio
import re
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from tests.support.upstreams.wire import HEAD_LIMIT, Ending, Line, NotHttp, Reply, Request, Stop, read_request

Fault = Callable[[Request, Reply], Reply]
"""Returns the changed answer to a request, from the right one; the module `faults` has ready ones."""


@dataclass(slots=True)
class Script:
    """Faults for the requests that it matches."""

    method: re.Pattern[str]
    target: re.Pattern[str]
    faults: tuple[Fault, ...]
    times: int | None
    skip: int
    after_login: bool
    hits: int = field(default=0)
    """How many requests it has spoiled so far."""

    def takes(self, request: Request, reply: Reply) -> bool:
        """True if it spoils this answer; counts its hits."""
        if not (self.method.fullmatch(request.method) and self.target.search(request.target)):
            return False
        if (self.after_login and reply.status == 401) or (self.times is not None and self.hits >= self.times):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.hits += 1
        return True


class ScriptedServer(ABC):
    """The base: listens, asks `answer` for the right reply, lets the scripts spoil it, sends it."""

    def __init__(self, *, bind: str = "127.0.0.1", name: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._bind = bind
        self._name = name or bind
        self._tls = tls
        self.host = ""
        """name:port, once it is started."""
        self.requests: list[Request] = []
        self.connections = 0
        """Accepted so far (with TLS: after the handshake)."""
        self.body_bytes = 0
        """Body bytes sent over connections that have ended."""
        self._scripts: list[Script] = []
        self._greetings: list[Ending] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @abstractmethod
    def answer(self, request: Request) -> Reply:
        """The right reply."""

    @property
    def url(self) -> str:
        """http(s)://name:port"""
        return f"{'https' if self._tls else 'http'}://{self.host}"

    @property
    def open_connections(self) -> int:
        """Connections that are being served now."""
        return len(self._tasks)

    def on(
        self,
        method: str,
        target: str,
        *faults: Fault,
        times: int | None = None,
        skip: int = 0,
        after_login: bool = False,
    ) -> Script:
        """Spoil the answers to requests whose method ("GET", "GET|HEAD", ".*") and target match (regular expressions).

        times: how often, left out: always. skip: how many to answer rightly first. after_login: leave a 401 that asks
        for credentials alone. Only the first script that takes a request answers it; its faults are applied in order.
        """
        script = Script(re.compile(method), re.compile(target), faults, times, skip, after_login)
        self._scripts.append(script)
        return script

    def on_connect(self, how: Ending, times: int = 1) -> None:
        """End the next `times` connections before a request is read."""
        self._greetings += [how] * times

    def heal(self) -> None:
        """Forget all scripts; the record of requests stays."""
        self._scripts.clear()
        self._greetings.clear()

    def received(self, method: str = ".*", target: str = "") -> list[Request]:
        """The requests so far whose method and target match (regular expressions)."""
        return [one for one in self.requests if re.fullmatch(method, one.method) and re.search(target, one.target)]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, self._bind, 0, ssl=self._tls, limit=HEAD_LIMIT)
        self.host = f"{self._name}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer, self.connections))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        line = Line(reader, writer)
        try:
            if self._greetings and not await line.end(Stop(self._greetings.pop(0))):
                return
            while (request := await read_request(reader, number)) is not None:
                self.requests.append(request)
                reply = self._spoil(request, self.answer(request))
                if not await line.send(reply, with_body=request.method != "HEAD" and reply.status not in (204, 304)):
                    return
                if request.headers.get("Connection", "").lower() == "close":
                    return
        except NotHttp:
            # As Go's servers answer, so that a client which tries https first goes on with http at once.
            writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        except ConnectionError:
            return  # the client left
        finally:
            self.body_bytes += line.body_bytes
            await line.close()

    def _spoil(self, request: Request, reply: Reply) -> Reply:
        script = next((script for script in self._scripts if script.takes(request, reply)), None)
        for fault in script.faults if script else ():
            reply = fault(request, reply)
        return reply
