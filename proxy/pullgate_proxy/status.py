"""The report of the admin port's /status for `pullgate doctor`: the watch, the disk, the peers, the object store. Pure.

The figures are those of /metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from pullgate.store.cluster.reflector import Contact

SILENT_SECONDS: Final = 200.0
"""Twice the silence after which a watch is opened anew: a watch that is silent for longer is dead."""


def describe_status(
    *, ready: bool, why: str, contact: Contact | None, known: Mapping[str, int], metrics: str
) -> dict[str, Any]:
    """The document of /status. A part that this proxy does not have is null; `contact` is None without a cluster."""
    figures = _read_figures(metrics)
    return {
        "ready": ready,
        "why": why,
        "watch": _describe_watch(contact) if contact is not None else None,
        "known": dict(known),
        "disk": _describe_disk(figures),
        "objectStore": _usable(figures, "pullgate_object_store_usable"),
        "peers": _describe_peers(figures),
    }


def _describe_watch(contact: Contact) -> dict[str, Any]:
    alive = not contact.problem and contact.age < SILENT_SECONDS
    return {"alive": alive, "ageSeconds": round(contact.age, 1), "problem": contact.problem}


def _describe_disk(figures: Mapping[str, list[float]]) -> dict[str, Any] | None:
    usable = _usable(figures, "pullgate_blob_cache_usable")
    if usable is None:
        return None
    held, files = figures.get("pullgate_blob_cache_bytes", [0]), figures.get("pullgate_blob_cache_files", [0])
    return {**usable, "bytes": round(held[0]), "files": round(files[0])}


def _describe_peers(figures: Mapping[str, list[float]]) -> dict[str, Any] | None:
    known, down = figures.get("pullgate_peers"), figures.get("pullgate_peers_down")
    if not known:
        return None
    return {"known": round(max(known)), "down": round(max(down or [0]))}


def _usable(figures: Mapping[str, list[float]], name: str) -> dict[str, Any] | None:
    values = figures.get(name)
    return {"usable": min(values) >= 1} if values else None


def _read_figures(metrics: str) -> dict[str, list[float]]:
    """Sample name -> the value of each of its samples."""
    found: dict[str, list[float]] = {}
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.value)
    return found
