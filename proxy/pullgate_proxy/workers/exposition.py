"""One page of metrics of several workers: what the supervisor knows itself once, the rest with a label. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

SUPERVISORS: Final = frozenset(
    {
        "pullgate_known_resources",
        "pullgate_synced",
        "pullgate_watch_connected",
        "pullgate_watch_age_seconds",
        "pullgate_blob_cache_bytes",
        "pullgate_blob_cache_files",
        "pullgate_blob_cache_usable",
        "pullgate_blob_cache_removals",
        "pullgate_worker_restarts",
    }
)
"""Metrics that exist once per replica, for any number of workers."""


class _Merged(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def merge(own: str, workers: Iterable[tuple[int, str]]) -> bytes:
    """The Prometheus text format of the supervisor's `own` page, and those of `workers` by their number."""
    families = {metric.name: metric for metric in text_string_to_metric_families(own) if metric.name in SUPERVISORS}
    for number, text in workers:
        for metric in text_string_to_metric_families(text):
            if metric.name in SUPERVISORS:
                continue
            family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            for sample in metric.samples:
                family.add_sample(sample.name, {**sample.labels, "worker": str(number)}, sample.value)
    return generate_latest(_Merged(families.values()))
