"""Heads of answers, bounded: aiohttp reads interim answers (RFC 9110, section 15.2) for as long as they come."""

from __future__ import annotations

from typing import Any, Final

from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader

INTERIM_LIMIT: Final = 16
"""Interim answers (100 Continue, 103 Early Hints) before the answer itself."""


class BoundedHeads(ResponseHandler):
    """aiohttp's side of a connection to a server, which ends it after too many interim answers.

    They are dropped here: nobody waits for one, and thousands of them come in one read.
    """

    _interim = 0

    def set_response_params(self, **params: Any) -> None:
        """See ResponseHandler: a request is sent, and its answer begins."""
        self._interim = 0
        super().set_response_params(**params)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """A head came in."""
        code = data[0].code
        if self._interim > INTERIM_LIMIT:
            return
        if not 100 <= code < 200 or code == 101:
            super().feed_data(data, size)
            return
        self._interim += 1
        if self._interim > INTERIM_LIMIT:
            self.set_exception(HttpProcessingError(message="too many interim answers"))
            if self.transport is not None:
                self.transport.abort()
