"""Tracebacks of the product: in the records of this process, in what programs print, and in the logs that they write.

`look` and `watch` collect, `take` hands out, and `traceback_plugin` fails the test with them.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

EXCERPT: Final = 4000
"""Characters of one traceback that a report shows."""
FILE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes that are read of one log at a time."""

_TRACEBACK: Final = r"Traceback \(most recent call last\):(?:\n(?:[ \t].*)?)*\n\S.*"
_ERROR: Final = (
    r"\bnever (?:retrieved|awaited)\b|Task was destroyed but it is pending|Fatal Python error"
    r"|\b(?:ERROR|CRITICAL)\b.{0,40}\bkopf\b|Traceback \(most recent call last\)"
)
_SIGN: Final = re.compile(_ERROR)
_FINDING: Final = re.compile(
    # The two lines before a traceback are what was logged with it; a chain of exceptions is one finding.
    rf"^(?:.*\n){{0,2}}?{_TRACEBACK}(?:\n\n(?:During handling|The above exception).*\n\n{_TRACEBACK})*"
    rf"|^.*(?:{_ERROR}).*",
    re.MULTILINE,
)
_LOG_NAME: Final = re.compile(r"stderr|stdout|.+\.log")


@dataclass(frozen=True, slots=True)
class Finding:
    """A traceback, or an error of kopf or asyncio, and the place that it was in."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}:\n{self.text}"


_FOUND: Final[list[Finding]] = []
_WATCHED: Final[set[Path]] = set()
_READ: Final[dict[Path, int]] = {}
"""The bytes of a log that were searched so far."""


def look(place: str, text: str | bytes) -> None:
    """Collect each traceback in `text`, which a program printed."""
    plain = text.decode(errors="replace") if isinstance(text, bytes) else text
    if _SIGN.search(plain) is not None:
        _FOUND.extend(Finding(place, found[0].strip()[-EXCERPT:]) for found in _FINDING.finditer(plain))


def watch(log: Path) -> None:
    """Search what a program, which outlives one test, adds to `log`."""
    _WATCHED.add(log)


def look_at_files(directory: Path | None = None) -> None:
    """Search what was added to each watched log, and to each log below `directory`, since it was last searched."""
    for path in sorted(_WATCHED | (set(_logs(directory)) if directory is not None else set())):
        try:
            with path.open("rb") as file:
                file.seek(_READ.get(path, 0))
                added = file.read(FILE_LIMIT)
                _READ[path] = file.tell()
        except OSError:  # a test removed it
            _WATCHED.discard(path)
            continue
        if added:
            look(f"file {path}", added)


def _logs(directory: Path) -> Iterator[Path]:
    for path in directory.rglob("*"):
        if _LOG_NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            yield path


def take(expected: Iterable[str] = ()) -> tuple[list[Finding], list[str]]:
    """The findings since the last call that match no pattern of `expected`, and the patterns that matched nothing."""
    found, _FOUND[:] = list(dict.fromkeys(_FOUND)), []
    patterns = list(expected)
    unexpected = [each for each in found if not any(re.search(pattern, each.text) for pattern in patterns)]
    unused = [pattern for pattern in patterns if not any(re.search(pattern, each.text) for each in found)]
    return unexpected, unused


class TracebackHandler(logging.Handler):
    """A handler of the root logger that collects records with a traceback, and errors of asyncio and kopf."""

    def emit(self, record: logging.LogRecord) -> None:
        """Collect `record` if it is one of these."""
        own = record.name.partition(".")[0] in ("asyncio", "kopf") and record.levelno >= logging.ERROR
        if record.levelno < logging.WARNING or not (own or record.exc_info or _SIGN.search(record.getMessage())):
            return
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += "\n" + "".join(traceback.format_exception(record.exc_info[1]))
        _FOUND.append(Finding(f"log of {record.name}", text.strip()[:EXCERPT]))
