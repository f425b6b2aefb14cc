"""How the programs' own logs are written: one line a message, even if others wrote its words."""

from __future__ import annotations

import logging
from typing import TextIO

from pullgate.clean_text import clean


class CleanFormatter(logging.Formatter):
    """Escapes what would forge a line or steer a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class's name
        """See logging.Formatter."""
        return clean(super().formatMessage(record))

    def formatException(self, ei: logging._SysExcInfoType) -> str:  # noqa: N802 - the base class's name
        """See logging.Formatter."""
        return clean(super().formatException(ei), lines=True)


def write_log(form: str, stream: TextIO | None = None) -> None:
    """Log warnings and errors to `stream` (None: standard error), unless somebody set up a log before."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(CleanFormatter(form))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
