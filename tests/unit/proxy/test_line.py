"""The line between a supervisor and a worker: what comes on it ends a call or the line, and never more."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pullgate_proxy.workers.line import Line, LineLost


def fails(*_: Any) -> None:
    raise RuntimeError("in a handler")


async def fails_later() -> None:
    raise RuntimeError("in a handler")


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Line, asyncio.Task[None], socket.socket]]:
    """A line with some handlers, its `run`, and the raw other end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    line = Line(ours, {"echo": lambda text: text, "fails": fails, "fails_later": fails_later})
    await line.open()
    running = asyncio.create_task(line.run())
    yield line, running, theirs
    theirs.close()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    with contextlib.suppress(LineLost):
        await line.close()


async def say(sock: socket.socket, text: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, text)


async def hear(sock: socket.socket) -> bytes:
    async with asyncio.timeout(5):
        return await asyncio.get_running_loop().sock_recv(sock, 1000)


@pytest.mark.logs_traceback("(fails|fails_later|echo) failed")
@pytest.mark.parametrize("call", ['"fails",[]', '"fails_later",[]', '"echo",[]', '"echo",[1,2]', '"echo",7'])
async def test_a_handler_that_fails_fails_its_call_alone(
    ends: tuple[Line, asyncio.Task[None], socket.socket], call: str
) -> None:
    _, running, theirs = ends
    await say(theirs, f"[7,{call}]\n".encode())
    assert await hear(theirs) == b"[-7,null]\n"
    await say(theirs, b'[8,"echo",["x"]]\n')
    assert await hear(theirs) == b'[-8,"x"]\n'
    assert not running.done()


@pytest.mark.parametrize(
    "garbage",
    [
        *(b"\n", b"{}\n", b"[]\n", b'["x"]\n', b"[1]\n", b"[-1]\n", b"7\n", b"\xff\n", b"x" * 9_000_000),
        *(b'[1,"nobody",[]]\n', b'[1,["echo"],[]]\n', b'[1,"echo'),
    ],
)
async def test_what_is_no_message_ends_the_line_and_its_calls(
    ends: tuple[Line, asyncio.Task[None], socket.socket], garbage: bytes
) -> None:
    line, running, theirs = ends
    call = asyncio.create_task(line.call("anything"))
    await hear(theirs)
    sending = asyncio.create_task(say(theirs, garbage))
    if not garbage.endswith((b"\n", b"x")):
        theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(LineLost):
        async with asyncio.timeout(5):
            await call
    await running  # without an error of its own
    sending.cancel()
