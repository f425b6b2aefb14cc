"""A small answer in one write, below aiohttp's Response: status line, headers and body are put together once.

aiohttp's own builds a multidict, serializes it and asks a dozen questions that have one answer here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""In a header (RFC 9110, section 5.5)."""


def render_head(status: int, headers: Mapping[str, str]) -> bytes:
    """Status line and headers, with the Content-Length; what differs from answer to answer comes after them.

    Raises ValueError for a header that would break out of its line.
    """
    if _FORBIDDEN.search("".join(headers.values())):
        raise ValueError("a header has a control character")
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}".encode()


class WholeAnswer(web.StreamResponse):
    """Sends itself when aiohttp prepares it."""

    def __init__(self, head: bytes, request_id: str, body: bytes) -> None:
        """`head` of `render_head`. The base class's own state is for answers that it builds itself."""
        self._head, self._request_id, self._rest = head, request_id, body
        self._keep_alive = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it. Raises ConnectionResetError if the client is gone."""
        if self._keep_alive is not None:
            return None
        self._keep_alive = alive = request.keep_alive
        last = "" if alive and request.version >= (1, 1) else f"Connection: {'keep-alive' if alive else 'close'}\r\n"
        tail = f"Date: {_date(int(time.time()))}\r\nX-Request-Id: {self._request_id}\r\n{last}\r\n"
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        transport.write(b"".join((self._head, tail.encode(), self._rest)))
        if transport.get_write_buffer_size():
            await request.writer.drain()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """It is out already."""


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    """RFC 9110, section 5.6.7."""
    return formatdate(second, usegmt=True)
