"""What the tests of the registry types showed, kept for the table of docs/registries: (type, column) in JSON files."""

from __future__ import annotations

import json
import os
from pathlib import Path

COLUMNS = (
    "key",
    "two clients",
    "wrong secret",
    "revoked",
    "ends in mid-blob",
    "rate limit",
    "denied",
    "identity",
    "renewal",
)


def prove(type_: str, column: str) -> None:
    """A test of `column` passed for `type_`. Kept where PULLGATE_TYPES_DIR names a folder."""
    if column not in COLUMNS:
        raise KeyError(column)
    directory = os.environ.get("PULLGATE_TYPES_DIR")
    if directory:
        path = Path(directory) / f"{type_}-{column.replace(' ', '-')}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"type": type_, "column": column}))
