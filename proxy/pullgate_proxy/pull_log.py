"""The access log: one line a request. JSON where a program reads, coloured text on a terminal."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO


@dataclass(slots=True)
class Record:
    """What happened to one request. Filled in on the way; never holds a key, a token or a header."""

    request_id: str = ""
    client: str = ""
    method: str = ""
    kind: str = ""
    host: str = ""
    app: str = ""
    license: str = ""
    key: str = ""
    """The key's id, as the License's status names it."""
    registry: str = ""
    repository: str = ""
    reference: str = ""
    status: int = 0
    reason: str = "Ok"
    message: str = ""
    bytes: int = 0
    cache: str = "off"
    aborted: bool = False
    pull: bool = False
    """Whether an image's manifest was got: what counts as a pull."""
    duration: float = field(default=0.0)
    """Seconds."""


class PullLog:
    """Writes Records to a stream; a stream that is gone (a closed pipe) does not stop a pull."""

    def __init__(self, stream: TextIO = sys.stdout, style: str = "auto") -> None:
        self._stream = stream
        self._text = style == "text" or (style == "auto" and stream.isatty())
        self._colour = self._text and stream.isatty()

    def write(self, record: Record, now: float) -> None:
        """One line for `record`, which ended at `now` (Unix time)."""
        line = self._render_text(record, now) if self._text else _render_json(record, now)
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return

    def _render_text(self, record: Record, now: float) -> str:
        time = datetime.fromtimestamp(now, UTC).strftime("%H:%M:%S")
        what = f"{record.repository}{'@' if ':' in record.reference else ':'}{record.reference}".strip(":")
        who = record.license or "-"
        size = f"{record.bytes} B " if record.bytes else ""
        tail = "" if record.reason == "Ok" else f"  {record.reason}: {record.message}"
        if record.aborted:
            tail += " (connection aborted)"
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
    fields: dict[str, object] = {
        "time": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds"),
        "requestId": record.request_id,
        "client": record.client,
        "method": record.method,
        "kind": record.kind,
        "host": record.host,
        "app": record.app,
        "license": record.license,
        "key": record.key,
        "registry": record.registry,
        "repository": record.repository,
        "reference": record.reference,
        "status": record.status,
        "reason": record.reason,
        "bytes": record.bytes,
        "duration": round(record.duration, 6),
        "cache": record.cache,
    }
    if record.message:
        fields["message"] = record.message
    if record.aborted:
        fields["aborted"] = True
    return json.dumps(fields)
