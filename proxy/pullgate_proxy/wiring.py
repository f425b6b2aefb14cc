"""The caches of one proxy, put together by its settings."""

from __future__ import annotations

import asyncio
import functools
import time

from aiohttp import web

from pullgate.providers.exchange import ExchangeFailed
from pullgate_proxy.cache.blobs.ask import Ask
from pullgate_proxy.cache.blobs.cache import BlobCache
from pullgate_proxy.cache.blobs.disk import BlobDir
from pullgate_proxy.cache.blobs.keeper import Bounds, Keeper
from pullgate_proxy.cache.blobs.objects import ObjectStore
from pullgate_proxy.cache.blobs.prefetch import Prefetcher
from pullgate_proxy.cache.manifests import RESULTS, ManifestCache
from pullgate_proxy.observe.metrics import Metrics
from pullgate_proxy.peers.client import PeerClient
from pullgate_proxy.peers.server import build_peer_server
from pullgate_proxy.peers.ticket import Wanted
from pullgate_proxy.settings import InvalidSettings, ProxySettings
from pullgate_proxy.state.snapshot import Snapshot
from pullgate_proxy.state.tokens import SigningKeys
from pullgate_proxy.state.upstreams import Upstreams


class Caches:
    """Manifests in memory; blobs on a disk, if there is one."""

    def __init__(
        self, settings: ProxySettings, metrics: Metrics, snapshot: Snapshot, upstreams: Upstreams, instance: str
    ) -> None:
        """`instance` is the id of this run of the replica."""
        self._settings, self._metrics, self._snapshot, self._upstreams = settings, metrics, snapshot, upstreams
        self._instance = instance
        self._manifest_results = {name: metrics.manifests.labels(name) for name in RESULTS}
        self.manifests = ManifestCache(settings.manifest_cache, time.monotonic, self._count_manifest)
        metrics.manifest_bytes.set_function(lambda: self.manifests.size)
        self._peers = PeerClient(settings.peer_fetch, self._instance, self._keys) if settings.peer_fetch else None
        if self._peers is not None:
            metrics.follow_peers(self._peers.membership)
        self.blobs = self._build_blobs()
        self.prefetcher = Prefetcher(self.blobs) if self.blobs is not None else None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Take the disk, follow the other replicas. A disk that fails is tried again later. Raises InvalidSettings."""
        try:
            if self.blobs is not None:
                await self.blobs.start()
        except ExchangeFailed as error:
            raise InvalidSettings(f"object store: {error}") from error
        if self._peers is not None:
            self._tasks.append(asyncio.create_task(self._peers.membership.run(), name="peers"))

    async def close(self) -> None:
        """End what is on its way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.prefetcher is not None:
            await self.prefetcher.close()
        if self.blobs is not None:
            await self.blobs.close()
        if self._peers is not None:
            await self._peers.close()
        await self.manifests.close()

    def peer_app(self) -> web.Application | None:
        """Answers other replicas; None if they do not ask."""
        if self.blobs is None or self._peers is None:
            return None
        app = web.Application()
        handler = build_peer_server(self.blobs, self._instance, self._keys, self._ask_of)
        app.router.add_get("/peer/{path:.+}", handler, allow_head=False)
        return app

    def _build_blobs(self) -> BlobCache | None:
        metrics, settings = self._metrics, self._settings
        if settings.blob_cache is None:
            return None
        keeper = Keeper(
            BlobDir(settings.blob_cache),
            Bounds(settings.blob_cache_size, settings.blob_cache_files),
            lambda why: metrics.blob_removals.labels(why).inc(),
        )
        metrics.follow_keeper(keeper)
        blobs = BlobCache(
            keeper,
            time.monotonic,
            on_result=lambda result: metrics.blobs.labels(result).inc(),
            on_received=lambda source, count: metrics.blob_received.labels(source).inc(count),
            peers=self._peers,
            store=self._build_store(keeper.directory),
        )
        metrics.follow_blobs(blobs)
        return blobs

    def _build_store(self, directory: BlobDir) -> ObjectStore | None:
        location, metrics = self._settings.object_store, self._metrics
        if location is None:
            return None
        store = ObjectStore(location, directory, time.monotonic, lambda result: metrics.uploads.labels(result).inc())
        metrics.follow_store(store)
        return store

    def _keys(self) -> SigningKeys:
        return self._snapshot.signing_keys

    def _count_manifest(self, result: str) -> None:
        self._manifest_results[result].inc()

    def _ask_of(self, wanted: Wanted) -> Ask | None:
        """The Ask for another replica's request; None without such a Registry. Raises a fault if it cannot be asked."""
        registry = self._snapshot.registry_named(wanted.app, wanted.registry)
        if registry is None:
            return None
        current = functools.partial(self._upstreams.get, registry)
        current()
        return Ask(self._upstreams.where(registry), wanted.repository, wanted.digest, current, by_peer=True)
