"""The process that workers belong to: it follows the cluster, keeps the disk, counts, and answers on the admin port.

A worker that ends is started again; its pulls break, and clients go on at another one. The workers end with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections import Counter as Counts
from typing import Any, Final

from pullgate.providers.handoff import SIGNING_KEYS_NAME
from pullgate.store.cluster.reflector import Contact
from pullgate.store.port import Key, Synced
from pullgate.turns import Pauses
from pullgate_proxy.admin import Readiness, build_admin
from pullgate_proxy.cache.ask import Place
from pullgate_proxy.metrics import Metrics
from pullgate_proxy.peers.grants import GrantPeers
from pullgate_proxy.ports import SidePort, cannot_listen
from pullgate_proxy.settings import ProxySettings
from pullgate_proxy.shared import Own
from pullgate_proxy.state.snapshot import Snapshot
from pullgate_proxy.state.watch import KINDS, Watched, apply_change
from pullgate_proxy.usage import UsageBook
from pullgate_proxy.workers.counting import Counter
from pullgate_proxy.workers.desk import Desk
from pullgate_proxy.workers.exposition import merge
from pullgate_proxy.workers.line import Line, LineLost
from pullgate_proxy.workers.replay import encode_change
from pullgate_proxy.workers.told import settings_document

AGAIN_SECONDS: Final = 1.0
"""Before a worker that ended is started again."""
STATE_SECONDS: Final = 1.0
"""Between two looks at the disk's state, which workers are told when it changes."""
KILL_SECONDS: Final = 5.0
"""After the drain bound, for a worker that does not end."""

log = logging.getLogger(__name__)


class Supervisor:
    """See the module. In the place of a Proxy."""

    def __init__(self, settings: ProxySettings, store: Watched, contact: Contact | None = None) -> None:
        """`settings.workers` of them."""
        self.settings = settings
        self.metrics = Metrics()
        self._snapshot = Snapshot()
        """Contains the signing keys alone; the workers know the rest."""
        self.own = Own(settings, self.metrics, lambda: self._snapshot.signing_keys)
        self._store, self._contact = store, contact
        self._desk = Desk(self.own.keeper) if self.own.keeper is not None else None
        self._replay: dict[Key, bytes] = {}
        self._synced = self._draining = False
        self._workers: dict[int, Worker] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._reserved: list[socket.socket] = []
        self._admin: SidePort | None = None
        self.port = settings.listen_port
        self.admin_port = settings.admin_port

    # --- life ---

    async def start(self) -> None:
        """Reserve the port, start the workers, answer on the admin port. Raises CannotListen."""
        self.port = self._reserve()
        self.own.start()
        if self.own.keeper is not None:
            await self.own.keeper.start()
        self._tasks = [asyncio.create_task(self._follow(), name="follow"), asyncio.create_task(self._watch_disk())]
        self._tasks += [
            asyncio.create_task(self._keep(number), name=f"worker {number}") for number in range(self.settings.workers)
        ]
        self._admin = SidePort(build_admin(self, self._contact), self.settings)
        self.admin_port = await self._admin.open(self.settings.admin_host, self.settings.admin_port, "--admin")

    async def stop(self) -> None:
        """Let all workers drain, and end."""
        self._draining = True
        ends = [worker.end(self.settings.drain_seconds + KILL_SECONDS) for worker in self._workers.values()]
        await asyncio.gather(*ends)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.own.close()
        if self.own.keeper is not None:
            await self.own.keeper.stop()
        if self._admin is not None:
            await self._admin.close()
        for reserved in self._reserved:
            reserved.close()

    def readiness(self) -> Readiness:
        """Ready while a worker is, from the first full list until the drain."""
        if self._draining:
            return Readiness(False, "draining")
        if not self._synced:
            return Readiness(False, "the first full list is not in")
        if not any(worker.synced for worker in self._workers.values()):
            return Readiness(False, "no worker is ready")
        return Readiness(True, "")

    # --- for the admin port ---

    @property
    def usage(self) -> UsageBook:
        """The usage of the Licenses at all workers."""
        return self.own.usage

    @property
    def grant_peers(self) -> GrantPeers:
        """Answers the other replicas."""
        return self.own.grant_peers

    def known(self) -> dict[str, int]:
        """How many resources are known, by kind."""
        kinds = Counts(key.kind for key in self._replay)
        return {"Registry": kinds["Registry"], "License": kinds["License"]}

    async def render_metrics(self) -> bytes:
        """Those of all workers that answer, and its own."""
        self.metrics.show_cluster(self.known(), self._contact, synced=self._synced)
        workers = dict(sorted(self._workers.items()))
        texts = await asyncio.gather(*(worker.metrics() for worker in workers.values()))
        return merge(self.metrics.render().decode(), [(n, t) for n, t in zip(workers, texts, strict=True) if t])

    # --- what workers are told ---

    async def _follow(self) -> None:
        pauses = Pauses()
        async for change in self._store.watch(KINDS):
            await pauses.give()
            if isinstance(change, Synced):
                self._synced = True
                self._tell_all("synced")
                continue
            if (change.key.kind, change.key.name) == ("Secret", SIGNING_KEYS_NAME):
                with contextlib.suppress(ValueError, KeyError):  # the workers log it
                    apply_change(change, self._snapshot)
            encoded = encode_change(change)
            if change.document is None:
                self._replay.pop(change.key, None)
            else:
                self._replay[change.key] = encoded
            for worker in self._workers.values():
                worker.line.forward("change", encoded)

    def _tell_all(self, name: str, *arguments: Any) -> None:
        for worker in self._workers.values():
            worker.line.note(name, *arguments)

    async def _watch_disk(self) -> None:
        told: list[object] = []
        while True:
            if self._desk is not None and (state := self._desk.state()) != told:
                told = state
                self._tell_all("disk", *state)
            await asyncio.sleep(STATE_SECONDS)

    # --- their life ---

    def _reserve(self) -> int:
        """Have the port, for workers alone: a socket that is bound and does not listen gets no connection."""
        host, port = self.settings.listen_host, self.settings.listen_port
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, *_, address in found if port else found[:1]:
                # Another's workers would let this one in beside them: alone it is told that the port is taken.
                socket.create_server(address, family=family).close()
                reserved = socket.socket(family, socket.SOCK_STREAM)
                self._reserved.append(reserved)
                reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    reserved.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                reserved.bind(address)
        except OSError as error:
            raise cannot_listen(host, port, error, "--listen") from error
        return int(self._reserved[0].getsockname()[1])

    async def _keep(self, number: int) -> None:
        """Have the worker run, again and again."""
        while not self._draining:
            worker = Worker(number, self)
            try:
                await worker.run()
            except (OSError, LineLost) as error:
                log.warning("worker %d cannot be started: %s", number, error)
            finally:
                self._workers.pop(number, None)
                await worker.gone(self._desk)
            if not self._draining:
                self.metrics.worker_restarts.inc()
                log.warning("worker %d ended (%s); another one is started", number, worker.how)
                await asyncio.sleep(AGAIN_SECONDS)


class Worker:
    """One of them, as the supervisor sees it."""

    def __init__(self, number: int, supervisor: Supervisor) -> None:
        self.number, self._supervisor = number, supervisor
        self.synced = False
        self.how = "it was not started"
        self._counter = Counter(supervisor.own.usage, supervisor.own.gatekeeper)
        self._process: asyncio.subprocess.Process | None = None
        self.line: Line

    async def run(self) -> None:
        """Until it ends. Raises OSError, LineLost."""
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "pullgate_proxy.workers.worker", str(theirs.fileno())]
        with theirs:
            # In a session of its own: Ctrl-C is the supervisor's to hear.
            self._process = await asyncio.create_subprocess_exec(
                *command, pass_fds=(theirs.fileno(),), start_new_session=True
            )
        self.line = Line(ours, self._handlers())
        await self.line.open()
        running = asyncio.create_task(self.line.run())
        try:
            await self._greet()
            await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await self.line.close()
            await self._wait(KILL_SECONDS)

    async def _greet(self) -> None:
        """Settings, then all that is known, then what changes."""
        supervisor = self._supervisor
        own = supervisor.own
        directory = own.keeper.directory if own.keeper is not None else None
        stamp = directory.stamp if directory is not None else None
        settings = settings_document(supervisor.settings, supervisor.port)
        self.line.note("hello", settings, self.number, own.usage.instance, stamp)
        if supervisor._desk is not None:
            self.line.note("disk", *supervisor._desk.state())
        # From here on the worker receives each change: after the replayed state of its object, or in its place.
        supervisor._workers[self.number] = self
        for key, encoded in list(supervisor._replay.items()):
            if supervisor._replay.get(key) is encoded:
                self.line.forward("change", encoded)
                await self.line.drain()
        if supervisor._synced:
            self.line.note("synced")

    def _handlers(self) -> dict[str, Any]:
        counter, desk, number = self._counter, self._supervisor._desk, self.number
        elsewhere = self._supervisor.own.shared.elsewhere
        handlers: dict[str, Any] = {
            "ready": self._note_ready,
            "counts": counter.counts,
            "refused": counter.refused,
            "enter": counter.enter,
            "enter test": counter.enter_test,
            "reserve": counter.reserve,
            "leave": counter.leave,
            "granted": lambda entries: elsewhere.note([bytes.fromhex(entry) for entry in entries]),
            "find grant": lambda entry: elsewhere.find(bytes.fromhex(entry)),
        }
        if desk is not None and self._supervisor.own.keeper is not None:
            keeper = self._supervisor.own.keeper
            handlers |= {
                "is proven": lambda place: keeper.is_proven(Place(*place)),
                "lead": lambda place: desk.lead(number, Place(*place)),
                "join": lambda place: desk.join(Place(*place)),
                "claim": lambda place, size: desk.claim(number, Place(*place), size),
                "commit": lambda place: desk.commit(number, Place(*place)),
                "abandon": lambda place: desk.abandon(number, Place(*place)),
                "pin": lambda digest: desk.pin(number, digest),
                "unpin": lambda digest: desk.unpin(number, digest),
                "failed": desk.failed,
                "drop": keeper.drop,
                "missing": keeper.missing,
            }
        return handlers

    def _note_ready(self) -> None:
        self.synced = True

    async def metrics(self) -> str:
        """Its own, empty where it does not answer."""
        try:
            return str(await self.line.call("metrics") or "")
        except LineLost:
            return ""

    async def end(self, seconds: float) -> None:
        """Let it drain; after `seconds` it is killed."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
        await self._wait(seconds)

    async def _wait(self, seconds: float) -> None:
        if self._process is None:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        code = self._process.returncode or 0
        self.how = f"signal {-code}" if code < 0 else f"exit code {code}"

    async def gone(self, desk: Desk | None) -> None:
        """Release the fetches that the worker led and its requests in flight."""
        self._counter.gone()
        if desk is not None:
            await desk.gone(self.number)
