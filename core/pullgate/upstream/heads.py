"""Heads of answers, bounded: aiohttp reads interim answers (RFC 9110, section 15.2) for as long as they come."""

from __future__ import annotations

from typing import Any, Final

from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader

INTERIM_LIMIT: Final = 16
"""Interim answers (100 Continue, 103 Early Hints) before the answer itself."""
STEP: Final = 4096
"""Bytes that are parsed at once while heads come: 150 heads and a millisecond. One read may hold 10,000 heads."""


class BoundedHeads(ResponseHandler):
    """aiohttp's side of a connection to a server, which ends it after too many heads.

    Interim answers are dropped here: nobody waits for one, and thousands of them come in one read.
    """

    _interim = 0
    _finals = 0

    def set_response_params(self, **params: Any) -> None:
        """See ResponseHandler: a request is sent, and its answer begins."""
        self._interim = self._finals = 0
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """See ResponseHandler. A body is parsed whole; heads are parsed step by step, until there are too many."""
        while len(data) > STEP and not self._reads_body() and self.exception() is None:
            super().data_received(data[:STEP])
            data = data[STEP:]
        if self.exception() is None:
            super().data_received(data)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """A head came in."""
        code = data[0].code
        if self._interim > INTERIM_LIMIT or self._finals > 1:
            return
        if not 100 <= code < 200 or code == 101:
            self._finals += 1
            if self._finals > 1:
                self._end("an answer that nobody asked for")
            else:
                super().feed_data(data, size)
            return
        self._interim += 1
        if self._interim > INTERIM_LIMIT:
            self._end("too many interim answers")

    def _reads_body(self) -> bool:
        return self._payload is not None and not self._payload.is_eof()

    def _end(self, problem: str) -> None:
        self.set_exception(HttpProcessingError(message=problem))
        if self.transport is not None:
            self.transport.abort()
