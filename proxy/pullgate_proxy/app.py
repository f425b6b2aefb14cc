"""The whole way of a pull in one readable list: `Proxy._pull`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from aiohttp import web
from aiohttp.log import server_logger

from pullgate.faults import (
    Fault,
    Internal,
    NotEntitled,
    Overloaded,
    PathInvalid,
    ReadOnly,
    ShuttingDown,
    UpstreamUnauthorized,
)
from pullgate.licensing.usage import Counts
from pullgate.policy.route import find_route
from pullgate.store.cluster.reflector import Contact
from pullgate.store.port import Store
from pullgate.usage.poller import UsagePoller
from pullgate_proxy.admin import Readiness, build_admin
from pullgate_proxy.cache.manifests import ManifestCache
from pullgate_proxy.limits import PEER_SECONDS, Gatekeeper, PeerUsage
from pullgate_proxy.lineage.grants import Children, Grants
from pullgate_proxy.lineage.proof import Prover
from pullgate_proxy.metrics import Metrics
from pullgate_proxy.pipeline.authenticate import identify, require_valid
from pullgate_proxy.pipeline.authorize import authorize
from pullgate_proxy.pipeline.forward import Answer, Forwarder, Pull
from pullgate_proxy.pipeline.origin import Origin, base_url, read_origin
from pullgate_proxy.pipeline.refuse import refuse
from pullgate_proxy.pipeline.relay import COMMON_HEADERS, ClientGone, relay
from pullgate_proxy.pipeline.request import Kind, PullRequest, parse_request
from pullgate_proxy.pipeline.token import BODY_LIMIT, TokenForm, answer_token
from pullgate_proxy.pull_log import PullLog, Record
from pullgate_proxy.server_log import keep_content_out_of_logs
from pullgate_proxy.settings import ProxySettings
from pullgate_proxy.state.snapshot import Snapshot
from pullgate_proxy.state.watch import follow
from pullgate_proxy.tls import build_context, reload_on_change
from pullgate_proxy.upstreams import Upstreams
from pullgate_proxy.usage import UsageBook

log = logging.getLogger(__name__)

DENIALS = frozenset({401, 403, 429})
"""What a License is refused with."""
_FORM_SECONDS = 10.0


class CannotListen(OSError):
    """A port is taken, or is not ours to take; the message says which and what to do."""


class Proxy:
    """One proxy: listens, follows the store, answers pulls."""

    def __init__(
        self, settings: ProxySettings, store: Store, pull_log: PullLog | None = None, contact: Contact | None = None
    ) -> None:
        """`contact` tells whether the cluster is heard; None where there is none."""
        self.settings = settings
        self.snapshot = Snapshot()
        self.metrics = Metrics()
        self.usage = UsageBook()
        self._peers = PeerUsage(self.usage.instance)
        self._gatekeeper = Gatekeeper(self.usage, self._peers)
        self._store, self._contact = store, contact
        self._log = pull_log or PullLog(style=settings.log_format)
        self._upstreams = Upstreams(self.snapshot, settings)
        self._grants = Grants(settings.grant_limit)
        self._manifests = ManifestCache(settings.manifest_cache, time.monotonic, self._count_cached)
        self._forwarder = Forwarder(Prover(self._grants, Children(), time.monotonic), self._manifests)
        self._running = 0
        self._draining = False
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.ServerRunner | None = None
        self._admin: web.AppRunner | None = None
        self.port = settings.listen_port
        self.admin_port = settings.admin_port

    # --- life ---

    async def start(self) -> None:
        """Listen. Raises CannotListen where a port is taken, InvalidSettings for files that do not work."""
        for logger in (log, server_logger):
            keep_content_out_of_logs(logger)
        context = build_context(self.settings)
        self._tasks.append(asyncio.create_task(follow(self._store, self.snapshot, self._upstreams.forget)))
        if context and self.settings.tls_cert and self.settings.tls_key:
            watcher = reload_on_change(context, self.settings.tls_cert, self.settings.tls_key)
            self._tasks.append(asyncio.create_task(watcher))
        if self.settings.peers:
            poller = UsagePoller(self.settings.peers, self._peers.take, PEER_SECONDS)
            self._tasks.append(asyncio.create_task(poller.run()))
        server = web.Server(
            self._handle, access_log=None, keepalive_timeout=self.settings.keepalive_timeout, auto_decompress=False
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=self.settings.drain_seconds)
        await self._runner.setup()
        admin = build_admin(self.metrics, self.snapshot, self.usage, self.readiness, self._contact, self._upstreams)
        self._admin = web.AppRunner(admin, access_log=None)
        await self._admin.setup()
        listen, aside = (self.settings.listen_host, self.port), (self.settings.admin_host, self.admin_port)
        try:
            await web.TCPSite(self._runner, *listen, ssl_context=context).start()
            await web.TCPSite(self._admin, *aside).start()
        except OSError as error:
            ports = f"{listen[0]}:{listen[1]} or {aside[0]}:{aside[1]}"
            words = f"cannot listen on {ports}: {error.strerror or error}; choose others with --listen and --admin"
            raise CannotListen(words) from error
        self.port = self._runner.addresses[0][1]
        self.admin_port = self._admin.addresses[0][1]

    async def stop(self) -> None:
        """Stop accepting, let bodies finish up to the drain bound, close everything."""
        self._draining = True
        if self._runner is not None:
            await self._runner.cleanup()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._manifests.close()
        await self._upstreams.close()
        if self._admin is not None:
            await self._admin.cleanup()

    def readiness(self) -> Readiness:
        """Ready from the first full list until the drain; a cluster that is away stops no pull."""
        if self._draining:
            return Readiness(False, "draining")
        if not self.snapshot.synced:
            return Readiness(False, "the first full list is not in")
        return Readiness(True, "")

    # --- one request ---

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        started = time.monotonic()
        origin = read_origin(http.headers, http.remote or "", self.settings)
        record = Record(origin.request_id, origin.client, http.method, host=origin.host)
        self._running += 1
        self.metrics.running.set(self._running)
        try:
            return await self._answer(http, origin, record)
        except ClientGone:
            record.reason = "ClientGone"
            raise ConnectionResetError from None
        finally:
            self._running -= 1
            self.metrics.running.set(self._running)
            self._note(record, time.monotonic() - started)
            self._gatekeeper.leave(record)

    async def _answer(self, http: web.BaseRequest, origin: Origin, record: Record) -> web.StreamResponse:
        request: PullRequest | None = None
        try:
            if self._draining:
                raise ShuttingDown
            if self._running > self.settings.max_requests:
                raise Overloaded
            request = parse_request(http.method, http.raw_path)
            record.kind, record.repository, record.reference = request.kind, request.repository, request.reference
            if request.kind is Kind.TOKEN:
                return await self._token(http, record)
            answer = await self._pull(request, http, origin, record)
            record.pull, record.cache = answer.is_pull, answer.cache
            return await relay(http, answer, record)
        except Fault as fault:
            if isinstance(fault, UpstreamUnauthorized):
                self._note_refused((record.app, record.registry))
            return self._refuse(fault, request, origin, record)
        except (ConnectionError, ClientGone, asyncio.CancelledError):
            record.reason = "ClientGone"
            raise
        except Exception:
            log.exception("request %s failed", origin.request_id)
            if record.bytes and http.transport is not None:
                http.transport.abort()
            return self._refuse(Internal(origin.request_id), request, origin, record)

    async def _pull(self, request: PullRequest, http: web.BaseRequest, origin: Origin, record: Record) -> Answer:
        """authenticate, route, authorize, forward."""
        now = time.time()
        key = identify(http.headers.get("Authorization"), self.snapshot, now)
        record.app, record.license, record.key = key.license.namespace, key.license.name, key.id
        license_ = require_valid(key, now)
        if request.kind is Kind.PING:
            return Answer(200, {"Content-Type": "application/json"}, b"{}")
        route = find_route(
            self.snapshot,
            namespace_of_license=license_.namespace,
            host=origin.name,
            path_repository=request.repository,
            ns=request.ns,
        )
        if route is None:
            raise NotEntitled(license_.name, request.repository)
        record.registry = route.registry.name
        authorization = authorize(license_, route, request, self._grants, time.monotonic())
        self._gatekeeper.enter(license_, request, record, now)
        upstream = self._upstreams.get(route.registry)
        where = self._upstreams.where(route.registry)
        pull = Pull(request, route, license_, authorization, http.headers, where)
        return await self._forwarder.forward(pull, upstream)

    async def _token(self, http: web.BaseRequest, record: Record) -> web.Response:
        if http.method == "POST":
            form = TokenForm(await _read_form(http))
        elif http.method == "GET":
            form = TokenForm(http.raw_path.partition("?")[2][:BODY_LIMIT])
        else:
            raise ReadOnly
        body = answer_token(form, http.headers.get("Authorization"), self.snapshot, time.time())
        record.status = 200
        headers = {**COMMON_HEADERS, "Cache-Control": "no-store", "X-Request-Id": record.request_id}
        return web.Response(body=body, content_type="application/json", headers=headers)

    def _refuse(self, fault: Fault, request: PullRequest | None, origin: Origin, record: Record) -> web.Response:
        record.status, record.reason, record.message = fault.status, fault.reason, fault.message
        base = base_url(origin, self.settings, self.snapshot)
        service = base.partition("://")[2]
        response = refuse(fault, request, f"{base}/token", service, origin.request_id)
        if isinstance(fault, ShuttingDown):
            response.force_close()
        return response

    def _note_refused(self, registry: tuple[str, str]) -> None:
        """The operator is told of it, and renews a token that it issued."""
        issued = self._upstreams.token_time(registry)
        if issued is not None:
            self.usage.note_refused(registry, issued)

    def _count_cached(self, result: str) -> None:
        self.metrics.manifests.labels(result).inc()
        self.metrics.manifest_bytes.set(self._manifests.size)

    def _note(self, record: Record, seconds: float) -> None:
        record.duration = seconds
        kind = record.kind or "other"
        self.metrics.requests.labels(kind, record.reason, str(record.status)).inc()
        self.metrics.seconds.labels(kind).observe(seconds)
        if record.bytes:
            self.metrics.bytes.labels(record.app, record.registry).inc(record.bytes)
        if record.aborted:
            self.metrics.aborted.labels(record.reason).inc()
        now = time.time()
        if record.license:
            counts = Counts(int(record.pull), record.bytes, int(record.status in DENIALS))
            self.usage.note((record.app, record.license), counts, record.key, now)
        self._log.write(record, now)


async def _read_form(http: web.BaseRequest) -> str:
    """The body of a POST, bounded in size and time."""
    if (http.content_length or 0) > BODY_LIMIT:
        raise PathInvalid("the token request is too large")
    data = bytearray()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_FORM_SECONDS):
            async for chunk in http.content.iter_any():
                data += chunk
                if len(data) > BODY_LIMIT:
                    raise PathInvalid("the token request is too large")
    return data.decode("latin-1")
