"""The operator on a cluster: wait for the lead, list, watch, reconcile, and look whether the watch still tells all.

kopf owns the loop while this process leads: it starts the work, feeds it with events, and ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import kopf
from aiohttp import web
from aiohttp.log import server_logger

from pullgate.providers.handoff import SYSTEM_NAMESPACE
from pullgate.server_header import hide_versions
from pullgate.server_log import keep_content_out_of_logs
from pullgate.store.cluster.api import PAGE, Api, Gone, Missing
from pullgate.store.cluster.store import ClusterStore
from pullgate.store.port import StoreUnavailable
from pullgate.usage.poller import UsagePoller
from pullgate_operator.cluster.lease import Leadership, LeadershipLost
from pullgate_operator.handlers import HANDLERS, make_memo
from pullgate_operator.handlers.watches import SERVER_SECONDS, Watches
from pullgate_operator.metrics import Metrics
from pullgate_operator.reconcile.loop import KINDS, Reconciler
from pullgate_operator.reconcile.settings import ReconcileSettings
from pullgate_operator.settings import OperatorSettings
from pullgate_operator.status import WatchState, describe_status

LEASE_NAME = "pullgate-operator"
LIST_AGAIN_SECONDS = 2.0
RESTART_SECONDS = (0.5, 1.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Before kopf is started again, each time that it ended soon after its start."""
SOON_SECONDS = 60.0
SETTLE_SECONDS = 0.1
"""kopf has set its handlers of signals by then. They fail at a second signal, and stay when kopf has ended."""
EXIT_SECONDS = 20.0
"""kopf kills the process if its exit takes longer."""
DISPENSABLE = frozenset({"ImageTest"})
"""Kinds that no other one is made from: without their CRD the rest goes on."""
DEAF_AUDITS = 2
"""So often in a row the audit found changes while the watch told of none: it is dead, and a new process helps."""

log = logging.getLogger(__name__)


class WatchingEnded(Exception):
    """kopf ended; the message says why."""


class Backoffs:
    """Seconds before kopf asks the API server again, without end: what is down for one kind ends no other's watch."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1.0, 1.0, 2.0, 3.0, 5.0, 8.0), itertools.repeat(10.0))


def build_settings() -> kopf.OperatorSettings:
    """kopf's settings: it watches, CRDs too, and does nothing else."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.watching.server_timeout = SERVER_SECONDS
    settings.watching.connect_timeout = 5
    settings.watching.chunk_size = PAGE
    settings.networking.error_backoffs = Backoffs()
    settings.process.ultimate_exiting_timeout = EXIT_SECONDS
    return settings


class Operator:
    """One process: a standby until it leads. It is the hub of kopf's handlers."""

    def __init__(self, settings: OperatorSettings) -> None:
        self._settings = settings
        self.metrics = Metrics()
        self._api: Api | None = None
        self._lead: Leadership | None = None
        self._store: ClusterStore | None = None
        self._reconciler: Reconciler | None = None
        self._stop = asyncio.Event()
        """Ends kopf: a watch was refused, the work failed, or kopf ends already, which would wait 5 s for it."""
        self._watches = Watches(KINDS, self._stop.set)
        self._work: asyncio.Task[None] | None = None
        """None for a standby, and until the first lists are in."""
        self._failure: BaseException | None = None
        """The exception that ended the work."""
        self._main: asyncio.Task[Any] | None = None
        self._deaf: Counter[str] = Counter()

    async def run(self) -> None:
        """Work until cancelled, by SIGINT or SIGTERM too.

        Raises NotConnected, LeadershipLost, WatchingEnded, OSError if the admin port is taken.
        """
        self._main = asyncio.current_task()
        self._cancel_at_signals()
        async with contextlib.AsyncExitStack() as stack:
            api = self._api = await stack.enter_async_context(
                await Api.load(self._settings.kubeconfig, self._count_write)
            )
            await self._serve_admin(stack)
            self._lead = Leadership(api, SYSTEM_NAMESPACE, LEASE_NAME, self._settings.identity)
            await self._lead.acquire()
            stack.push_async_callback(self._lead.release)
            try:
                async with asyncio.TaskGroup() as group:
                    # Begun before kopf, which ends every task of its loop that is younger than itself.
                    group.create_task(self._keep(self._lead))
                    group.create_task(self._watch_for_ever())
            except* (LeadershipLost, WatchingEnded) as ended:
                raise ended.exceptions[0] from None

    async def _keep(self, lead: Leadership) -> None:
        try:
            await lead.keep()
        finally:
            await self.end()  # the new leader must write alone

    async def _watch_for_ever(self) -> None:
        soon = 0
        while True:
            self._stop.clear()
            self._watches.begin()
            begun = time.monotonic()
            try:
                await kopf.operator(
                    registry=HANDLERS,
                    settings=build_settings(),
                    memo=make_memo(self),
                    identity=cast(Any, self._settings.identity),  # kopf's own needs the user's name
                    standalone=True,
                    clusterwide=True,
                    stop_flag=self._stop,
                )
            except Exception as error:
                # kopf left tasks in the loop that would never end: exit, and let another process begin anew.
                raise WatchingEnded(str(error.args[0]) if error.args else type(error).__name__) from error
            if self._failure is not None:
                raise self._failure
            if not self._watches.refused:  # a signal that came before `begin`
                self._cancel()
                return
            soon = soon if time.monotonic() - begun < SOON_SECONDS else 0
            wait, soon = RESTART_SECONDS[soon], min(soon + 1, len(RESTART_SECONDS) - 1)
            log.warning("%s; watching is begun again in %g s", self._watches.refused, wait)
            await asyncio.sleep(wait)

    def _note_end(self, work: asyncio.Task[None]) -> None:
        if not work.cancelled():
            self._failure = work.exception()
            self._stop.set()

    # --- pullgate_operator.handlers.hub.Hub ---

    async def begin(self) -> None:
        """See `Hub.begin`."""
        await asyncio.sleep(SETTLE_SECONDS)
        self._cancel_at_signals()
        store = self._store = ClusterStore(self._connected, dict.fromkeys(KINDS, None), "pullgate-operator")
        for kind in sorted(KINDS):
            await self._list(store, kind)
        self._work = asyncio.create_task(self._do_work(store), name="work")
        self._work.add_done_callback(self._note_end)

    async def end(self) -> None:
        """See `Hub.end`."""
        self._stop.set()
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    def log_in(self) -> kopf.AiohttpSession:
        """See `Hub.log_in`."""
        api = self._connected
        return kopf.AiohttpSession(server=api.host, aiohttp_session=api.open_session(self._watches.note))

    def take(self, kind: str, event: kopf.RawEvent) -> None:
        """See `Hub.take`."""
        self._watches.hear(kind)
        if self._store is not None:
            self._store.take(event["type"], kind, cast(dict[str, Any], event["object"]))

    def note_kind(self, kind: str, *, present: bool) -> None:
        """See `Hub.note_kind`."""
        if present:
            self._watches.absent.discard(kind)
        else:
            self._watches.lose(kind)

    @property
    def _connected(self) -> Api:
        if self._api is None:
            raise StoreUnavailable("the API server is not known yet")
        return self._api

    def _cancel_at_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._cancel)

    def _cancel(self) -> None:
        logging.getLogger("kopf").setLevel(logging.CRITICAL)  # it tells of requests that its own end cuts as of errors
        if self._main is not None:
            self._main.cancel()

    # --- the work ---

    async def _do_work(self, store: ClusterStore) -> None:
        settings = ReconcileSettings(
            self._settings.external_url,
            own_identity=self._settings.own_identity,
            tenants=self._settings.tenants,
            proxy_ca=self._settings.ca,
        )
        reconciler = self._reconciler = Reconciler(
            store,
            settings,
            on_done=self._count_done,
            on_renewed=self._count_renewal,
            on_issued=lambda reason: self.metrics.keys.labels(reason).inc(),
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(reconciler.run())
            group.create_task(self._audit_for_ever(store))
            group.create_task(self._audit_lists(store))
            group.create_task(self._usage_poller(reconciler).run())

    def _usage_poller(self, reconciler: Reconciler) -> UsagePoller:
        return UsagePoller(self._settings.proxies, reconciler.take_usage, self._settings.usage_seconds)

    async def _list(self, store: ClusterStore, kind: str) -> None:
        """Return once it is known what there is of `kind`."""
        while True:
            try:
                await store.relist(kind)
            except Missing as error:
                # An API server that starts says so too, of kinds that it has; without Licenses their keys would go.
                self._watches.lose(kind)
                if kind in DISPENSABLE:
                    store.do_without(kind)
                    return
                log.warning("%s: is the CRD of %s there? It is tried again", error, kind)
            except (StoreUnavailable, Gone) as error:
                log.warning("%s; it is tried again", error)
            else:
                self._watches.absent.discard(kind)
                return
            await asyncio.sleep(LIST_AGAIN_SECONDS)

    async def _audit_for_ever(self, store: ClusterStore) -> None:
        """kopf tells no deletion that happened while its watch was down, and its watch may end unseen (kopf #1276)."""
        self._deaf.clear()
        while True:
            told = self._watches.events.copy()
            await asyncio.sleep(self._settings.audit_seconds)
            for kind in sorted(KINDS):
                unseen = await self._audit(store, kind) or 0
                self.metrics.unseen.inc(unseen)
                self._deaf[kind] = self._deaf[kind] + 1 if unseen and self._watches.events[kind] == told[kind] else 0

    async def _audit_lists(self, store: ClusterStore) -> None:
        """Find changes between the operator's own list and kopf's watch: audit each kind that kopf has listed."""
        while True:
            for kind in sorted(await self._watches.wait_for_list()):
                if await self._audit(store, kind) is None and kind not in self._watches.absent:
                    asyncio.get_running_loop().call_later(LIST_AGAIN_SECONDS, self._watches.note_list, kind)

    async def _audit(self, store: ClusterStore, kind: str) -> int | None:
        """The number of changes that the watch missed; None if the audit failed."""
        try:
            return await store.audit(kind)
        except (StoreUnavailable, Gone) as error:
            if isinstance(error, Missing):
                self._watches.lose(kind)
            log.warning("%s; the audit is made later", error)
            return None

    def _count_write(self, resource: str) -> None:
        self.metrics.writes.labels(resource).inc()

    def _count_done(self, kind: str, result: str) -> None:
        self.metrics.reconciles.labels(kind, result).inc()

    def _count_renewal(self, result: str) -> None:
        self.metrics.renewals.labels(result).inc()

    # --- the admin port ---

    @property
    def healthy(self) -> bool:
        """True if a new process would not help."""
        return not self._watches.lost and max(self._deaf.values(), default=0) < DEAF_AUDITS

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
        if self._lead is None or not self._lead.holds:
            return None
        watches = self._watches
        age = time.monotonic() - watches.heard if watches.heard is not None else None
        alive = self._work is not None and self.healthy and not watches.problem
        return WatchState(alive, age, watches.problem)
