"""The access log: one line a request. JSON where a program reads, coloured text on a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quote
from typing import TextIO

from pullgate_proxy.request.record import Record


class PullLog:
    """Writes Records to a stream; a stream that is gone (a closed pipe) does not stop a pull.

    Requests that end in one round of the event loop are written together, so that no line waits longer than that.
    """

    def __init__(self, stream: TextIO = sys.stdout, style: str = "auto") -> None:
        self._stream = stream
        self._text = style == "text" or (style == "auto" and stream.isatty())
        self._colour = self._text and stream.isatty()
        self._lines: list[str] = []

    def write(self, record: Record, now: float) -> None:
        """One line for `record`, which ended at `now` (Unix time). Call it in the loop."""
        self._lines.append(self._render_text(record, now) if self._text else _render_json(record, now))
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write the lines that wait."""
        lines, self._lines = self._lines, []
        with contextlib.suppress(OSError, ValueError):
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()

    def _render_text(self, record: Record, now: float) -> str:
        time = datetime.fromtimestamp(now, UTC).strftime("%H:%M:%S")
        what = f"{record.repository}{'@' if ':' in record.reference else ':'}{record.reference}".strip(":")
        who = record.license or "-"
        size = f"{record.bytes} B " if record.bytes else ""
        tail = "" if record.reason == "Ok" else f"  {record.reason}: {record.message}"
        if record.aborted:
            tail += " (connection aborted)"
        if record.test:
            tail += " (test)"
        status = self._paint(str(record.status), record.status)
        return (
            f"{time} {status} {record.method:4} {record.kind:9} {who} {what}  "
            f"{size}{record.duration * 1000:.0f} ms [{record.request_id}]{tail}"
        )

    def _paint(self, text: str, status: int) -> str:
        if not self._colour:
            return text
        colour = 32 if status < 300 else 36 if status < 400 else 33 if status < 500 else 31
        return f"\x1b[{colour}m{text}\x1b[0m"


def _render_json(record: Record, now: float) -> str:
    text = (
        f'{{"time": "{_time_of(now)}", "requestId": {_quote(record.request_id)}, "client": {_quote(record.client)}, '
        f'"method": {_quote(record.method)}, "kind": {_quote(record.kind)}, "host": {_quote(record.host)}, '
        f'"app": {_quote(record.app)}, "license": {_quote(record.license)}, "key": {_quote(record.key)}, '
        f'"registry": {_quote(record.registry)}, "repository": {_quote(record.repository)}, '
        f'"reference": {_quote(record.reference)}, "status": {record.status}, "reason": {_quote(record.reason)}, '
        f'"bytes": {record.bytes}, "duration": {record.duration:.6f}, "cache": {_quote(record.cache)}'
    )
    if record.message:
        text += f', "message": {_quote(record.message)}'
    if record.test:
        text += ', "test": true'
    return text + (', "aborted": true}' if record.aborted else "}")


def _time_of(now: float) -> str:
    second = int(now)
    return f"{_second_of(second)}.{int((now - second) * 1000):03d}+00:00"


@lru_cache(maxsize=4)
def _second_of(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
