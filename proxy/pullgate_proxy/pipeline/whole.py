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


class WholeAnswer(web.StreamResponse):
    """Sends itself when aiohttp prepares it."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """`headers` with the Content-Length. Raises ValueError for one that would break out of its line."""
        super().__init__(status=status)
        if _FORBIDDEN.search("".join(headers.values())):
            raise ValueError("a header has a control character")
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        self._head = f"HTTP/1.1 {_status_line(status)}\r\nDate: {_date(int(time.time()))}\r\n{lines}".encode()
        self._rest = body

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send it. Raises ConnectionResetError where the client is gone."""
        if self._eof_sent:
            return None
        self._eof_sent = True
        self._keep_alive = request.keep_alive
        if not self._keep_alive:
            last = b"Connection: close\r\n\r\n"
        else:
            last = b"\r\n" if request.version >= (1, 1) else b"Connection: keep-alive\r\n\r\n"
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        transport.write(b"".join((self._head, last, self._rest)))
        await request.writer.drain()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """It is out already."""


@lru_cache(maxsize=64)
def _status_line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    """RFC 9110, section 5.6.7."""
    return formatdate(second, usegmt=True)
