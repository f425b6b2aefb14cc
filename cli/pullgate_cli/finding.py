"""One line of `doctor`'s report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem", "unknown"]
"""`unknown`: it could not look."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    about: str
    state: State
    text: str
    fix: str = ""


def ago(seconds: float) -> str:
    """An age for people: 41 s, 4 min, 3 h, 2 d."""
    for size, unit, limit in ((1, "s", 100), (60, "min", 100 * 60), (3600, "h", 48 * 3600)):
        if seconds < limit:
            return f"{max(0.0, seconds) / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
