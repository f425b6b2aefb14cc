"""What kopf logs of an API server that refuses: its words, without a traceback each time, and as what it is."""

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
    """For root's handlers: no traceback of an exception of kopf's own, and a request that is tried again is a warning.

    Its words say all that there is to say.
    """
    for handler in logging.getLogger().handlers:
        handler.addFilter(_FILTER)
