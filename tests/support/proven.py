"""Results of the registry types' tests, kept for the table of docs/registries: (type, column) in JSON files."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from tests.support.fakes.kinds import kinds_of

COLUMNS = (
    "key",
    "two clients",
    "wrong secret",
    "wrong kind",
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
    _keep(type_, column)


def prove_kind(type_: str, kind: str) -> None:
    """A test pulled with this kind of key of `type_`."""
    if kind not in kinds_of(type_):
        raise KeyError(kind)
    _keep(type_, kind)


def _keep(type_: str, what: str) -> None:
    directory = os.environ.get("PULLGATE_TYPES_DIR")
    if directory:
        path = Path(directory) / f"{type_}-{re.sub('[^a-z0-9]+', '-', what.lower())}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"type": type_, "column": what}))
