"""What kopf logs of an API server that refuses: its words, without a traceback each time."""

from __future__ import annotations

import logging


class _Brief(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and type(error).__module__.startswith("kopf."):
            record.exc_info = record.exc_text = None
        return True


_FILTER = _Brief()


def keep_kopf_brief() -> None:
    """An exception of kopf's own says all that there is to say; it is logged without a traceback by root's handlers."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(_FILTER)
