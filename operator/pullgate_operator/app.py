"""The operator on a cluster: wait for the lead, list, watch, reconcile, and look whether the watch still tells all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.log import server_logger

from pullgate.providers.handoff import SYSTEM_NAMESPACE
from pullgate.server_header import hide_versions
from pullgate.server_log import keep_content_out_of_logs
from pullgate.store.cluster.api import Api, Gone
from pullgate.store.cluster.store import ClusterStore
from pullgate.store.port import StoreUnavailable
from pullgate.usage.poller import UsagePoller
from pullgate_operator.cluster.lease import Leadership, LeadershipLost
from pullgate_operator.handlers.events import Watching
from pullgate_operator.metrics import Metrics
from pullgate_operator.reconcile.loop import KINDS, Reconciler
from pullgate_operator.reconcile.settings import ReconcileSettings
from pullgate_operator.settings import OperatorSettings
from pullgate_operator.status import WatchState, describe_status

LEASE_NAME = "pullgate-operator"
LIST_AGAIN_SECONDS = 2.0
RESTART_SECONDS = 3.0
DEAF_AUDITS = 2
"""So often in a row the audit found changes while the watch told of none: it is dead, and a new process helps."""

log = logging.getLogger(__name__)


class Operator:
    """One process: a standby until it leads."""

    def __init__(self, settings: OperatorSettings) -> None:
        self._settings = settings
        self.metrics = Metrics()
        self._lead: Leadership | None = None
        self._store: ClusterStore | None = None
        self._reconciler: Reconciler | None = None
        self._watching: Watching | None = None
        """None for a standby, and until the first lists are in."""
        self._deaf = 0

    async def run(self) -> None:
        """Work until cancelled. Raises NotConnected, LeadershipLost, OSError where the admin port is taken."""
        async with contextlib.AsyncExitStack() as stack:
            api = await stack.enter_async_context(await Api.load(self._settings.kubeconfig, self._count_write))
            await self._serve_admin(stack)
            self._lead = Leadership(api, SYSTEM_NAMESPACE, LEASE_NAME, self._settings.identity)
            await self._lead.acquire()
            stack.push_async_callback(self._lead.release)
            await self._work(api, self._lead)

    async def _work(self, api: Api, lead: Leadership) -> None:
        store = self._store = ClusterStore(api, dict.fromkeys(KINDS, None), "pullgate-operator")
        settings = ReconcileSettings(
            self._settings.external_url, own_identity=self._settings.own_identity, proxy_ca=self._settings.ca
        )
        reconciler = self._reconciler = Reconciler(
            store, settings, on_done=self._count_done, on_renewed=self._count_renewal
        )
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(lead.keep())
                await self._list_all(store)
                watching = self._watching = Watching(store, KINDS, api.configuration)
                watching.start()
                group.create_task(reconciler.run())
                group.create_task(self._audit(store, watching))
                group.create_task(self._usage_poller(reconciler).run())
        except* LeadershipLost as lost:
            raise lost.exceptions[0] from None
        finally:
            if self._watching is not None:
                await self._watching.stop()

    def _usage_poller(self, reconciler: Reconciler) -> UsagePoller:
        return UsagePoller(self._settings.proxies, reconciler.take_usage, self._settings.usage_seconds)

    async def _list_all(self, store: ClusterStore) -> None:
        while True:
            try:
                for kind in sorted(KINDS):
                    await store.relist(kind)
            except (StoreUnavailable, Gone) as error:
                log.warning("%s; it is tried again", error)
                await asyncio.sleep(LIST_AGAIN_SECONDS)
            else:
                return

    async def _audit(self, store: ClusterStore, watching: Watching) -> None:
        """kopf tells no deletion that happened while its watch was down, and its watch may end unseen (kopf #1276)."""
        while True:
            told = watching.events
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.audit_seconds):
                    await watching.restarted.wait()
                    watching.restarted.clear()
                    await asyncio.sleep(RESTART_SECONDS)  # kopf has listed by then, and tells what follows
            try:
                unseen = sum([await store.audit(kind) for kind in sorted(KINDS)])
            except (StoreUnavailable, Gone) as error:
                log.warning("%s; the audit is made later", error)
                continue
            self.metrics.unseen.inc(unseen)
            self._deaf = self._deaf + 1 if unseen and watching.events == told else 0

    def _count_write(self, resource: str) -> None:
        self.metrics.writes.labels(resource).inc()

    def _count_done(self, kind: str, result: str) -> None:
        self.metrics.reconciles.labels(kind, result).inc()

    def _count_renewal(self, result: str) -> None:
        self.metrics.renewals.labels(result).inc()

    # --- the admin port ---

    @property
    def healthy(self) -> bool:
        """Whether a new process would not help."""
        return self._watching is None or (self._watching.alive and self._deaf < DEAF_AUDITS)

    async def _serve_admin(self, stack: contextlib.AsyncExitStack) -> None:
        hide_versions()
        keep_content_out_of_logs(server_logger)
        app = web.Application()
        app.router.add_get("/metrics", self._answer_metrics)
        app.router.add_get("/healthz", self._answer_health)
        app.router.add_get("/readyz", self._answer_ready)
        app.router.add_get("/status", self._answer_status)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, self._settings.admin_host, self._settings.admin_port).start()

    async def _answer_metrics(self, _: web.Request) -> web.Response:
        self.metrics.leader.set(self._lead is not None and self._lead.holds)
        self.metrics.queue.set(self._reconciler.waiting if self._reconciler is not None else 0)
        if self._store is not None:
            registries, licenses = await self._store.list("Registry"), await self._store.list("License")
            self.metrics.show(registries, licenses, datetime.now(UTC))
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=self.metrics.render(), headers=headers)

    async def _answer_health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n" if self.healthy else "the watch is dead\n", status=200 if self.healthy else 503)

    async def _answer_ready(self, _: web.Request) -> web.Response:
        """A standby is ready: it is there to take over."""
        leads = self._lead is not None and self._lead.holds
        return web.Response(text=json.dumps({"ready": True, "leads": leads}) + "\n")

    async def _answer_status(self, _: web.Request) -> web.Response:
        """For `pullgate doctor`."""
        leads = self._lead is not None and self._lead.holds
        return web.json_response(describe_status(leads=leads, watch=self._watch_state()))

    def _watch_state(self) -> WatchState | None:
        watching = self._watching
        if watching is None:
            return None
        problem = "" if watching.watched == len(KINDS) else f"{watching.watched} of {len(KINDS)} kinds are watched"
        age = time.monotonic() - watching.heard if watching.heard is not None else None
        return WatchState(self.healthy and not problem, age, problem)
