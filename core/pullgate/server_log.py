"""Keep the content of malformed HTTP requests out of the log of aiohttp's server.

Its parser's exceptions repeat the line or the chunk that they failed at, and its surroundings: an Authorization
header, a token request's form. So they are logged by name alone, without a traceback.
"""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

_OF_CONTENT = (HttpProcessingError, web.RequestPayloadError)


class _NoContent(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if _repeats_content(error):
            record.msg, record.args = f"{record.getMessage()}: {type(error).__name__}", ()
            record.exc_info = record.exc_text = None
        return True


def _repeats_content(error: BaseException | None) -> bool:
    """True if it, or one of its causes, is an error of the parser."""
    while error is not None:
        if isinstance(error, _OF_CONTENT):
            return True
        error = error.__cause__ or error.__context__
    return False


_FILTER = _NoContent()


def keep_content_out_of_logs(logger: logging.Logger) -> None:
    """No record of `logger` repeats what a client sent; once is enough."""
    logger.addFilter(_FILTER)
