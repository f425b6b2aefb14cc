"""The whole way of a pull in one readable list: `Proxy._pull`."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import time

from aiohttp import web

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
from pullgate.licensing.marks import COUNTED_APART, LIMIT_HEADER, TEST_HEADER
from pullgate.licensing.usage import Counts
from pullgate.policy.facts import LicenseFacts
from pullgate.policy.route import find_route, named_app
from pullgate.server_log import keep_content_out_of_logs
from pullgate.shares import Loan, license_holders, pull_holders
from pullgate.store.cluster.reflector import Contact
from pullgate_proxy.limits.rates import Asks, Rates
from pullgate_proxy.limits.throttle import Throttle
from pullgate_proxy.limits.usage import UsageBook
from pullgate_proxy.lineage.grants import Children
from pullgate_proxy.lineage.proof import Prover
from pullgate_proxy.listen.admission import Admission
from pullgate_proxy.listen.ports import CustomersPort, SidePort
from pullgate_proxy.listen.tls import build_context, reload_on_change
from pullgate_proxy.lists.cursor import Cursors
from pullgate_proxy.lists.room import ListRoom
from pullgate_proxy.observe.admin import Readiness, build_admin
from pullgate_proxy.observe.metrics import Metrics
from pullgate_proxy.observe.pull_log import PullLog
from pullgate_proxy.peers.grants import GrantPeers
from pullgate_proxy.peers.replica import Replica
from pullgate_proxy.pipeline.authenticate import Logins, identify, require_valid
from pullgate_proxy.pipeline.authorize import authorize
from pullgate_proxy.pipeline.forward import Answer, Forwarder, Pull
from pullgate_proxy.pipeline.recall import Recall, asked_of
from pullgate_proxy.pipeline.refuse import refuse
from pullgate_proxy.pipeline.relay import COMMON_HEADERS, ClientGone, relay
from pullgate_proxy.pipeline.token import BODY_LIMIT, TokenForm, answer_token
from pullgate_proxy.request.origin import Origin, base_url, read_origin
from pullgate_proxy.request.parse import Kind, PullRequest, parse_request
from pullgate_proxy.request.record import Record
from pullgate_proxy.settings import ProxySettings
from pullgate_proxy.state.snapshot import Snapshot
from pullgate_proxy.state.upstreams import Upstreams
from pullgate_proxy.state.watch import Watched, follow
from pullgate_proxy.wiring import Caches

log = logging.getLogger(__name__)

DENIALS = frozenset({401, 403, 429})
"""Status codes that refuse a License."""
PEER_CONNECTIONS = 256
"""Most connections from other replicas at once."""
_FORM_SECONDS = 10.0


class Proxy:
    """One proxy: listens, follows the store, answers pulls."""

    def __init__(
        self,
        settings: ProxySettings,
        store: Watched,
        pull_log: PullLog | None = None,
        contact: Contact | None = None,
    ) -> None:
        """`contact` reports the connection to the cluster; None without a cluster."""
        self.settings = settings
        self.snapshot = Snapshot()
        self.metrics = Metrics()
        self.admission = Admission(settings, self.metrics, self.snapshot.max_requests)
        self.throttle = Throttle(time.monotonic)
        self.rates = Rates(time.monotonic)
        self.metrics.wrong_key_sources.set_function(lambda: len(self.throttle))
        self.replica = Replica(settings, lambda: self.snapshot.signing_keys)
        self._store, self._contact = store, contact
        self._log = pull_log or PullLog(style=settings.log_format)
        self._upstreams = Upstreams(self.snapshot, settings, self.admission.bodies)
        self._grants = self.replica.grants
        self.caches = Caches(settings, self.metrics, self.snapshot, self._upstreams, self.replica.usage.instance)
        lists = ListRoom(self.admission.room.lists)
        prover = Prover(self._grants, Children(), time.monotonic, lists, self.replica.grant_peers.find)
        self._forwarder = Forwarder(prover, self.caches, Cursors(lambda: self.snapshot.signing_keys), lists)
        self._logins = Logins()
        self._recall = Recall()
        self._draining = False
        self._tasks: list[asyncio.Task[None]] = []
        self._customers = CustomersPort(settings, self.admission, self.admission.serve(self._handle))
        self._sides: list[SidePort] = []
        self.port = settings.listen_port
        self.admin_port = settings.admin_port

    # --- life ---

    async def start(self) -> None:
        """Listen. Raises CannotListen if a port is taken, InvalidSettings for files that do not work."""
        keep_content_out_of_logs(log)
        settings = self.settings
        context = build_context(settings)
        await self.caches.start()
        self._tasks.append(asyncio.create_task(follow(self._store, self.snapshot, self._upstreams.forget)))
        self._tasks.append(asyncio.create_task(self.admission.watch()))
        if context and settings.tls_cert and settings.tls_key:
            watcher = reload_on_change(context, settings.tls_cert, settings.tls_key)
            self._tasks.append(asyncio.create_task(watcher))
        self.port = await self._customers.open(context)
        peers = self.caches.peer_app()
        if peers is not None:
            side = SidePort(peers, settings, PEER_CONNECTIONS)
            self._sides.append(side)
            await side.open(*settings.peer_listen, "--peer-listen")
        self.replica.start()
        side = SidePort(build_admin(self, self._contact), settings)
        self._sides.append(side)
        self.admin_port = await side.open(settings.admin_host, settings.admin_port, "--admin")

    async def stop(self) -> None:
        """Stop accepting, let bodies finish up to the drain bound, close everything."""
        self._draining = True
        await self._customers.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.replica.close()
        await self._forwarder.close()
        await self.caches.close()
        await self._upstreams.close()
        for side in self._sides:
            await side.close()
        self._log.flush()

    @property
    def usage(self) -> UsageBook:
        """The usage that this replica counted."""
        return self.replica.usage

    @property
    def grant_peers(self) -> GrantPeers:
        """Answers the other replicas."""
        return self.replica.grant_peers

    def readiness(self) -> Readiness:
        """Ready from the first full list until the drain; a cluster that is away stops no pull."""
        if self._draining:
            return Readiness(False, "draining")
        if not self.snapshot.synced:
            return Readiness(False, "the first full list is not in")
        return Readiness(True, "")

    def known(self) -> dict[str, int]:
        """How many resources are known, by kind."""
        return self.snapshot.counts()

    def render_metrics(self) -> bytes:
        """The Prometheus text format."""
        self.metrics.show_cluster(self.known(), self._contact, synced=self.snapshot.synced)
        self.metrics.show_down(self._upstreams.down())
        return self.metrics.render()

    # --- one request ---

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        started = time.monotonic()
        origin = read_origin(http.headers, http.remote or "", self.settings)
        record = Record(origin.request_id, origin.client, http.method, host=origin.host)
        self.admission.enter(http)
        try:
            return await self._answer(http, origin, record)
        except ClientGone:
            record.reason = "ClientGone"
            raise ConnectionResetError from None
        finally:
            self.admission.leave(record)
            self._note(record, time.monotonic() - started)
            self.replica.gate.leave(record)

    async def _answer(self, http: web.BaseRequest, origin: Origin, record: Record) -> web.StreamResponse:
        request: PullRequest | None = None
        try:
            if self._draining:
                raise ShuttingDown
            self.admission.let_in(self.settings.max_requests)
            request = parse_request(http.method, http.raw_path)
            record.kind, record.repository, record.reference = request.kind, request.repository, request.reference
            if request.kind is Kind.TOKEN:
                return await self._token(http, record)
            answer = await self._pull(request, http, origin, record)
            holders = license_holders(record.app, record.license)
            self.admission.connections.hold(http, len(answer.body), *holders)
            if record.test:
                answer = dataclasses.replace(answer, headers={**answer.headers, **_test_headers(record)})
            gate = self.replica.gate
            reserve = functools.partial(gate.reserve, record) if gate.counts_bytes(record) else None
            return await relay(http, answer, record, reserve)
        except Fault as fault:
            if isinstance(fault, UpstreamUnauthorized):
                self._note_refused((record.app, record.registry))
            if isinstance(fault, Overloaded):
                self.metrics.refused.labels(fault.cause).inc()
            return self._refuse(self.throttle.judge(fault, origin.client), request, origin, record)
        except (ConnectionError, ClientGone, asyncio.CancelledError):
            record.reason = "ClientGone"
            raise
        except Exception:
            log.exception("request %s failed", origin.request_id)
            if record.bytes and http.transport is not None:
                http.transport.abort()
            return self._refuse(Internal(origin.request_id), request, origin, record)

    async def _pull(self, request: PullRequest, http: web.BaseRequest, origin: Origin, record: Record) -> Answer:
        """authenticate; then what is known of the same request, or route, authorize, forward."""
        self.admission.let_pull(request.kind)
        now = time.time()
        app = named_app(self.snapshot, origin.name, request.repository)
        key = identify(http.headers.get("Authorization"), self.snapshot, now, self._logins, app)
        record.app, record.license, record.key = key.license.namespace, key.license.name, key.id
        mark = http.headers.get(TEST_HEADER)
        record.test = mark is not None and self.snapshot.signing_keys.verifies_mark(
            mark, record.app, record.license, now
        )
        license_ = require_valid(key, now)
        if request.kind is Kind.PING:
            return Answer(200, {"Content-Type": "application/json"}, b"{}")
        # A test goes through the gate each time: it has a bound of its own.
        asked = None if record.test else asked_of(key.digest, request, http.raw_path, origin.host, http.headers)
        known = self._recall.find(asked, license_, self.snapshot.registries_version, time.monotonic())
        if known is not None:
            record.registry, answer = known
            self.caches.manifests.count_hit()
            return answer
        answer = await self._forward(request, license_, http, origin, record)
        self._recall.note(asked, license_, self.snapshot.registries_version, record.registry, answer)
        return answer

    async def _forward(
        self, request: PullRequest, license_: LicenseFacts, http: web.BaseRequest, origin: Origin, record: Record
    ) -> Answer:
        """route, authorize, forward."""
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
        if await self.admission.seat(record, pull_holders(license_.namespace, route.registry.name, license_.name)):
            if http.transport is None:
                raise ClientGone
            return await self._pull(request, http, origin, record)  # the License may have ended while it waited
        self.replica.gate.enter(license_, request, record)
        upstream = self._upstreams.get(route.registry)
        where = self._upstreams.where(route.registry)
        current = functools.partial(self._upstreams.get, route.registry)
        # Tests have a bound of their own, and use up none of the customer's.
        spend = functools.partial(self.rates.spend, license_) if not record.test else _spend_nothing
        pull = Pull(request, route, license_, authorization, http.headers, where, current, origin.client, spend)
        return await self._forwarder.forward(pull, upstream)

    async def _token(self, http: web.BaseRequest, record: Record) -> web.Response:
        if http.method == "POST":
            with self.admission.read_form(http, record.client) as loan:
                form = TokenForm(await _read_form(http, loan))
        elif http.method == "GET":
            form = TokenForm(http.raw_path.partition("?")[2][:BODY_LIMIT])
        else:
            raise ReadOnly
        body = answer_token(form, http.headers.get("Authorization"), self.snapshot, time.time())
        record.status = 200
        headers = {**COMMON_HEADERS, "Cache-Control": "no-store", "X-Request-Id": record.request_id}
        return web.Response(body=body, content_type="application/json", headers=headers)

    def _refuse(self, fault: Fault, request: PullRequest | None, origin: Origin, record: Record) -> web.Response:
        record.status, record.reason, record.message = fault.status, fault.reason, fault.for_vendor
        base = base_url(origin, self.settings)
        service = base.partition("://")[2]
        response = refuse(fault, request, f"{base}/token", service, origin.request_id)
        if record.test:
            response.headers.update(_test_headers(record))
        if isinstance(fault, ShuttingDown):
            response.force_close()
        return response

    def _note_refused(self, registry: tuple[str, str]) -> None:
        """Report the refusal of a token that the operator issued; the operator renews it."""
        issued = self._upstreams.token_time(registry)
        if issued is not None:
            self.replica.usage.note_refused(registry, issued)

    def _note(self, record: Record, seconds: float) -> None:
        record.duration = seconds
        self.metrics.note(record)
        now = time.time()
        if record.license:
            name = (record.app, record.license)
            if record.test:  # nor did the customer use its key
                self.replica.usage.note(name, Counts(tests=1), "", now)
            else:
                counts = Counts(int(record.pull), record.bytes, int(record.status in DENIALS))
                self.replica.usage.note(name, counts, record.key, now)
        self._log.write(record, now)


def _spend_nothing(_: Asks) -> None:
    """A test asks the upstream."""


def _test_headers(record: Record) -> dict[str, str]:
    """The headers of an answer to a test; no other request gets them."""
    return {TEST_HEADER: COUNTED_APART, **({LIMIT_HEADER: record.limit} if record.limit else {})}


async def _read_form(http: web.BaseRequest, loan: Loan) -> str:
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
                loan.grow_to(len(data))
    return data.decode("latin-1")
