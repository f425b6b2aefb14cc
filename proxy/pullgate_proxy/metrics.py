"""What is counted. No label holds a license, an image or anything else that a customer chooses: series stay bounded."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """One proxy's metrics in its own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "pullgate_requests",
            "Requests by what was asked for and how it ended (reason: Ok, or a reason of the faults table).",
            ("kind", "reason", "status"),
            registry=self.registry,
        )
        self.bytes = Counter(
            "pullgate_sent_bytes", "Bytes of bodies sent to clients.", ("app", "registry"), registry=self.registry
        )
        self.seconds = Histogram(
            "pullgate_request_seconds",
            "Time from the request to the end of its body.",
            ("kind",),
            buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600),
            registry=self.registry,
        )
        self.running = Gauge("pullgate_running_requests", "Requests being answered now.", registry=self.registry)
        self.refused = Counter(
            "pullgate_refused",
            "Requests answered Overloaded, by what there was too little of (requests, descriptors, memory, bodies).",
            ("cause",),
            registry=self.registry,
        )
        self.load = Gauge(
            "pullgate_load",
            "How much there is at once of requests, connections, descriptors, and bytes of memory and bodies.",
            ("of",),
            registry=self.registry,
        )
        self.load_limit = Gauge(
            "pullgate_load_limit", "How much there may be; 0: any.", ("of",), registry=self.registry
        )
        self.closed = Counter(
            "pullgate_closed_connections",
            "Idle connections of clients that were closed to make room, or for a head without an end.",
            ("why",),
            registry=self.registry,
        )
        self.wrong_key_sources = Gauge(
            "pullgate_wrong_key_sources", "Sources whose wrong license keys are counted.", registry=self.registry
        )
        self.down = Gauge(
            "pullgate_upstream_down",
            "1 for a Registry whose upstream does not answer and is left alone for a while.",
            ("namespace", "name"),
            registry=self.registry,
        )
        self.manifests = Counter(
            "pullgate_manifest_cache",
            "Manifests by how they were come by (result: hit, revalidated, miss, stale).",
            ("result",),
            registry=self.registry,
        )
        self.manifest_bytes = Gauge(
            "pullgate_manifest_cache_bytes", "Bytes of manifests in memory.", registry=self.registry
        )
        self.aborted = Counter(
            "pullgate_aborted_bodies",
            "Bodies that failed after their header was out.",
            ("reason",),
            registry=self.registry,
        )
        self.proofs = Counter(
            "pullgate_lineage_proofs", "Digests proven from the upstream.", ("result",), registry=self.registry
        )
        self.known = Gauge("pullgate_known_resources", "Resources in memory.", ("kind",), registry=self.registry)
        self.watch_connected = Gauge(
            "pullgate_watch_connected", "1 while the cluster's changes are heard.", registry=self.registry
        )
        self.watch_age = Gauge(
            "pullgate_watch_age_seconds", "Seconds since anything of the cluster was heard.", registry=self.registry
        )
        self.synced = Gauge("pullgate_synced", "1 once the first full list is in.", registry=self.registry)

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)
