"""Shorten kopf's logs of an API server that refuses: no traceback, and a retry is a warning."""

from __future__ import annotations

import logging


class _Brief(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and type(error).__module__.startswith("kopf."):
            record.exc_info = record.exc_text = None
        if record.name.startswith("kopf.") and "; will retry: " in record.getMessage():
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


_FILTER = _Brief()


def keep_kopf_brief() -> None:
    """For root's handlers: no traceback of kopf's own exceptions, and a request that is retried is a warning.

    The message alone says enough.
    """
    for handler in logging.getLogger().handlers:
        handler.addFilter(_FILTER)
