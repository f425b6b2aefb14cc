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


def _describe_disk(figures: Mapping[str, float]) -> dict[str, Any] | None:
    usable = _usable(figures, "pullgate_blob_cache_usable")
    if usable is None:
        return None
    held, files = figures.get("pullgate_blob_cache_bytes", 0), figures.get("pullgate_blob_cache_files", 0)
    return {**usable, "bytes": round(held), "files": round(files)}


def _describe_peers(figures: Mapping[str, float]) -> dict[str, Any] | None:
    known, down = figures.get("pullgate_peers"), figures.get("pullgate_peers_down", 0)
    return {"known": round(known), "down": round(down)} if known is not None else None


def _usable(figures: Mapping[str, float], name: str) -> dict[str, Any] | None:
    value = figures.get(name)
    return {"usable": value >= 1} if value is not None else None


def _read_figures(metrics: str) -> dict[str, float]:
    """Sample name -> value, of the samples without labels."""
    families = text_string_to_metric_families(metrics)
    return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}
