"""kopf's handlers. They take events in and write nothing: no annotation, no finalizer, no state of kopf in any object.

kopf runs in a thread with a loop of its own, since it ends every task of its loop when it stops.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import kopf
from kubernetes.aio.client import Configuration

from pullgate.store.cluster.kinds import PLURALS, api_version_of
from pullgate.store.cluster.store import ClusterStore
from pullgate.store.port import Key

WATCHER = "watcher for "
"""How kopf names the task of a watch."""
GUARD_SECONDS = 0.5
RESTART_SECONDS = 1.0

log = logging.getLogger(__name__)

Take = Callable[[str, str | None, Mapping[str, Any]], None]
"""Kind, type of the event (None: it was there already), document."""


def build_handlers(kinds: frozenset[str], take: Take, configuration: Configuration) -> kopf.OperatorRegistry:
    """Handlers that tell each event of `kinds` to `take`, with the credentials that the rest of the operator has."""
    registry = kopf.OperatorRegistry()

    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        settings: Mapping[str, Any] = await configuration.auth_settings()
        value = settings.get("BearerToken", {}).get("value") or ""
        return kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            token=value.removeprefix("Bearer ") or None,
        )

    kopf.on.login(registry=registry)(log_in)
    for kind in sorted(kinds):
        group, _, version = api_version_of(kind).rpartition("/")

        def on_event(event: Any, kind: str = kind, **_: Any) -> None:
            take(kind, event["type"], event["object"])

        kopf.on.event(group, version, PLURALS[kind], id=f"take-{kind}", registry=registry)(on_event)
    return registry


def build_settings() -> kopf.OperatorSettings:
    """kopf's settings: it watches, and does nothing else."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.watching.server_timeout = 300
    settings.watching.connect_timeout = 5
    return settings


class Watching:
    """kopf in its thread. Where it loses a watch, which it does not begin again by itself, it is started anew."""

    def __init__(self, store: ClusterStore, kinds: frozenset[str], configuration: Configuration) -> None:
        self._store, self._kinds, self._configuration = store, kinds, configuration
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._round_stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self.restarted = asyncio.Event()
        """Set when it was started anew: what happened in between is known to a list only."""
        self.events = 0
        """Events that came in."""
        self.heard: float | None = None
        """When the last event came, by the monotonic clock."""
        self.watched = 0
        """Kinds that are watched now."""

    @property
    def alive(self) -> bool:
        """Whether kopf runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    async def stop(self) -> None:
        """End it."""
        self._stop.set()
        self._round_stop.set()
        await asyncio.to_thread(self._thread.join, 10.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._round_stop.clear()
            try:
                asyncio.run(self._watch())
            except Exception:
                log.exception("watching ended")
            if not self._stop.wait(RESTART_SECONDS):
                log.warning("watching is begun again")
                self._loop.call_soon_threadsafe(self.restarted.set)

    async def _watch(self) -> None:
        """One run of kopf, which ends every task of its loop when it stops."""
        guard = asyncio.create_task(self._guard_watchers(), name="guard of the watchers")
        guard.add_done_callback(lambda _: self._round_stop.set())
        try:
            await kopf.operator(
                registry=build_handlers(self._kinds, self._take_elsewhere, self._configuration),
                settings=build_settings(),
                standalone=True,
                clusterwide=True,
                stop_flag=self._round_stop,
            )
        finally:
            self.watched = 0

    async def _guard_watchers(self) -> None:
        """Return when a watcher is gone: an answer that kopf does not try again (a 410 in place of a watch) ends it."""
        most = 0
        while True:
            await asyncio.sleep(GUARD_SECONDS)
            found = sum(task.get_name().startswith(WATCHER) for task in asyncio.all_tasks())
            if found < most:
                log.warning("kopf watches %d of %d kinds", found, most)
                return
            most = self.watched = found

    def _take_elsewhere(self, kind: str, type_: str | None, document: Mapping[str, Any]) -> None:
        """In kopf's thread. At its start it tells of everything, which the operator has just listed itself."""
        self.events += 1
        self.heard = time.monotonic()
        metadata = document["metadata"]
        key = Key(kind, metadata["namespace"], metadata["name"])
        if type_ != "DELETED" and self._store.holds(key, metadata["resourceVersion"]):
            return
        self._loop.call_soon_threadsafe(self._take, kind, type_, copy.deepcopy(dict(document)))

    def _take(self, kind: str, type_: str | None, document: dict[str, Any]) -> None:
        self._store.take(type_, kind, document)
