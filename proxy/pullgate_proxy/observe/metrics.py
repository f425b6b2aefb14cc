"""The metrics. No label contains a license, an image or anything else that customers choose: series stay bounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pullgate.store.cluster.reflector import Contact
from pullgate_proxy.cache.blobs.cache import BlobCache
from pullgate_proxy.cache.blobs.keeper import REMOVALS, Keeper
from pullgate_proxy.cache.blobs.objects import UPLOAD_RESULTS, ObjectStore
from pullgate_proxy.peers.membership import Membership
from pullgate_proxy.request.parse import Kind
from pullgate_proxy.request.record import Record


class Metrics:
    """One proxy's metrics in its own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._by_outcome: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._by_registry: dict[tuple[str, str], Counter] = {}
        self.requests = Counter(
            "pullgate_requests",
            "Requests by kind and outcome (reason: Ok, or a reason of the faults table).",
            ("kind", "reason", "status"),
            registry=self.registry,
        )
        for kind in (*Kind, "other"):  # from 0 on: what begins at 1 is no increase, and one 500 is a bug
            self.requests.labels(kind, "Internal", "500")
        self.tests = Counter(
            "pullgate_tests",
            "Requests with a test mark, which count as no customer's; they are among pullgate_requests, too.",
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
            "Requests answered Overloaded (cause, the exhausted resource: requests, descriptors, memory, bodies).",
            ("cause",),
            registry=self.registry,
        )
        self.load = Gauge(
            "pullgate_load",
            "Current load (of: requests, waiting, connections, idle_connections, descriptors; bytes: memory, bodies).",
            ("of",),
            registry=self.registry,
        )
        self.load_limit = Gauge(
            "pullgate_load_limit", "Limit of the load; 0: no limit.", ("of",), registry=self.registry
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
            "Manifests by cache result (result: hit, revalidated, miss, stale).",
            ("result",),
            registry=self.registry,
        )
        self.manifest_bytes = Gauge(
            "pullgate_manifest_cache_bytes", "Bytes of manifests in memory.", registry=self.registry
        )
        self.blobs = Counter(
            "pullgate_blob_cache",
            "Blobs by cache result (result: hit, revalidated, shared, miss, stale).",
            ("result",),
            registry=self.registry,
        )
        self.blob_bytes = Gauge("pullgate_blob_cache_bytes", "Bytes of blobs on the disk.", registry=self.registry)
        self.blob_files = Gauge("pullgate_blob_cache_files", "Blobs on the disk.", registry=self.registry)
        # This one and `store_usable` are exposed where there is such a thing: elsewhere 0 would say that it fails.
        self.blob_usable = Gauge(
            "pullgate_blob_cache_usable", "0 while the disk fails and no blob is kept.", registry=None
        )
        self.blob_removals = Counter(
            "pullgate_blob_cache_removals",
            "Blobs removed from the disk (why: evicted, damaged).",
            ("why",),
            registry=self.registry,
        )
        self.blob_flights = Gauge("pullgate_blob_fetches", "Blobs in flight to the disk.", registry=self.registry)
        self.blob_received = Counter(
            "pullgate_blob_fetched_bytes",
            "Bytes of blobs fetched to the disk (source: upstream, peer, store).",
            ("source",),
            registry=self.registry,
        )
        self.uploads = Counter(
            "pullgate_object_store_uploads",
            "Uploads to the object store (result: ok, failed).",
            ("result",),
            registry=self.registry,
        )
        self.store_usable = Gauge("pullgate_object_store_usable", "0 while the object store fails.", registry=None)
        # Exposed where other replicas are asked.
        self.peers = Gauge("pullgate_peers", "Known replicas, this one included.", registry=None)
        self.peers_down = Gauge(
            "pullgate_peers_down", "Replicas that failed and are not asked for a while.", registry=None
        )
        self.aborted = Counter(
            "pullgate_aborted_bodies",
            "Bodies that failed after their header was out.",
            ("reason",),
            registry=self.registry,
        )
        self.known = Gauge("pullgate_known_resources", "Resources in memory.", ("kind",), registry=self.registry)
        self.watch_connected = Gauge(
            "pullgate_watch_connected", "1 while the cluster's changes are heard.", registry=self.registry
        )
        self.watch_age = Gauge(
            "pullgate_watch_age_seconds", "Seconds since anything of the cluster was heard.", registry=self.registry
        )
        self.synced = Gauge("pullgate_synced", "1 once the first full list is in.", registry=self.registry)

    def note(self, record: Record) -> None:
        """A request that has ended. The series are looked up once each: `labels` costs more than the counting."""
        kind = record.kind or "other"
        key = (kind, record.reason, record.status)
        found = self._by_outcome.get(key)
        if found is None:
            found = (self.requests.labels(kind, record.reason, str(record.status)), self.seconds.labels(kind))
            self._by_outcome[key] = found
        found[0].inc()
        if record.test:
            self.tests.inc()
        found[1].observe(record.duration)
        if record.bytes:
            registry = (record.app, record.registry)
            sent = self._by_registry.get(registry)
            if sent is None:
                sent = self._by_registry[registry] = self.bytes.labels(*registry)
            sent.inc(record.bytes)
        if record.aborted:
            self.aborted.labels(record.reason).inc()

    def follow_keeper(self, keeper: Keeper) -> None:
        """Show the state of the disk as it is when it is asked for."""
        self.blob_bytes.set_function(lambda: keeper.size)
        self.blob_files.set_function(lambda: keeper.files)
        self.blob_usable.set_function(lambda: not keeper.problem)
        self.registry.register(self.blob_usable)
        for why in REMOVALS:  # from 0 on: what begins at 1 is no increase
            self.blob_removals.labels(why)

    def follow_blobs(self, blobs: BlobCache) -> None:
        """Show what is on its way."""
        self.blob_flights.set_function(lambda: len(blobs.fetches))

    def follow_store(self, store: ObjectStore) -> None:
        """Show whether the object store is used."""
        self.store_usable.set_function(lambda: not store.problem)
        self.registry.register(self.store_usable)
        for result in UPLOAD_RESULTS:
            self.uploads.labels(result)

    def follow_peers(self, membership: Membership) -> None:
        """Show the replicas that are asked for blobs."""
        self.peers.set_function(lambda: membership.known)
        self.peers_down.set_function(lambda: membership.down)
        self.registry.register(self.peers)
        self.registry.register(self.peers_down)

    def show_cluster(self, known: Mapping[str, int], contact: Contact | None, *, synced: bool) -> None:
        """Set the gauges of the cluster: known resources, sync, and the watch."""
        for kind, count in known.items():
            self.known.labels(kind).set(count)
        self.synced.set(synced)
        self.watch_connected.set(contact is None or not contact.problem)
        self.watch_age.set(contact.age if contact is not None else 0)

    def show_down(self, registries: Iterable[tuple[str, str]]) -> None:
        """Set the gauge of the Registries whose upstream is backed off from; these replace the last ones."""
        self.down.clear()
        for name in registries:
            self.down.labels(*name).set(1)

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)
