"""The document of the operator's /status, which `pullgate doctor` reads. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class WatchState:
    """The watch of a leader."""

    alive: bool
    """True if every kind is watched, and repeated audits found no missed changes."""
    age: float | None
    """Seconds since the last event; None before the first."""
    problem: str = ""


def describe_status(*, leads: bool, watch: WatchState | None) -> dict[str, Any]:
    """The document; `watch` is None for a standby, and until the first lists are in."""
    described = None
    if watch is not None:
        age = round(watch.age, 1) if watch.age is not None else None
        described = {"alive": watch.alive, "ageSeconds": age, "problem": watch.problem}
    return {"ready": True, "why": "", "leads": leads, "watch": described}
