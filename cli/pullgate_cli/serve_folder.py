"""A folder served: the store, the reconcilers and the proxy in one process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pullgate.policy.tenancy import Networks, TenantPolicy
from pullgate.resources.conditions import read_condition
from pullgate.store.folder import FolderInUse, FolderStore
from pullgate.store.port import Change, StoreUnavailable
from pullgate.store.private import PrivateFolder
from pullgate_cli.board import Board
from pullgate_operator.plan.signing import read_license_key
from pullgate_operator.reconcile.loop import Reconciler
from pullgate_operator.reconcile.settings import ReconcileSettings
from pullgate_operator.reconcile.signing import LICENSE_KEY
from pullgate_proxy.app import Proxy
from pullgate_proxy.listen.connections import raise_descriptor_limit
from pullgate_proxy.listen.stop import stop_on_signals
from pullgate_proxy.settings import InvalidSettings, ProxySettings

PUBLIC_KEY_FILE = "license-public-key.pem"
USAGE_SECONDS = 5.0
PATIENCE = 5.0
"""Seconds that the first table waits for the first checks; the board reports a slow upstream later."""


class CannotServe(Exception):
    """It cannot start, or not go on; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Served:
    """A folder that is being served."""

    store: FolderStore
    proxy: Proxy
    board: Board


Announce = Callable[[Served], Awaitable[None]]


@contextlib.asynccontextmanager
async def serve_folder(
    directory: Path, settings: ProxySettings, ca: Path | None = None, networks: Networks = ()
) -> AsyncIterator[Served]:
    """Serve `directory` while the context is open; on the way out bodies may finish. Raises CannotServe.

    `ca` is the file of the CA that ImageTests trust for the proxy, beside the system's. `networks` are the private
    networks that upstreams may be in.

    When the context is entered, the keys of Licenses are there and the tables were shown.
    """
    board = Board(directory)
    store = FolderStore(directory, on_problem=board.problem, on_mended=board.mended, on_event=board.event)
    async with contextlib.AsyncExitStack() as stack:
        try:
            await store.start()
        except (FolderInUse, OSError, StoreUnavailable) as error:
            raise CannotServe(str(error)) from error
        stack.push_async_callback(store.stop)
        reconciler = Reconciler(
            store,
            ReconcileSettings(
                settings.external_url,
                usage_interval=timedelta(minutes=1),
                # The folder's writer starts the process, so its identity is the writer's.
                own_identity=frozenset({"*"}),
                tenants=TenantPolicy(networks=networks),
                proxy_ca=ca,
            ),
        )
        await stack.enter_async_context(_background(reconciler.run()))
        proxy = Proxy(settings, store)
        stack.push_async_callback(proxy.stop)
        await _start(proxy)
        await _note_addresses(directory, settings, proxy)
        await _wait_until_told(reconciler, store)
        await _write_public_key(store, directory)
        board.show_tables(await store.list("Registry"), await store.list("License"))
        await stack.enter_async_context(_background(_tell_removals(store, board)))
        await stack.enter_async_context(_background(_count(proxy, reconciler)))
        yield Served(store, proxy, board)


async def serve_until_signal(
    directory: Path,
    settings: ProxySettings,
    announce: Announce | None = None,
    *,
    ca: Path | None = None,
    networks: Networks = (),
) -> None:
    """Serve until SIGINT or SIGTERM; a second one ends the drain. `announce` is called once. Raises CannotServe.

    `ca` and `networks` as in serve_folder.
    """
    stopped = stop_on_signals()
    raise_descriptor_limit()
    async with serve_folder(directory, settings, ca, networks) as served:
        scheme = "https" if settings.tls_cert is not None else "http"
        where = f"{scheme}://{settings.listen_host}:{served.proxy.port}"
        served.board.line(f"Serving {directory} on {where} as {settings.external_url}; Ctrl-C ends it.")
        if announce is not None:
            await announce(served)
        await stopped.wait()
        served.board.line("Draining; Ctrl-C again ends it at once.")


async def _start(proxy: Proxy) -> None:
    try:
        await proxy.start()
    except (OSError, InvalidSettings) as error:
        raise CannotServe(str(error)) from error


async def _note_addresses(directory: Path, settings: ProxySettings, proxy: Proxy) -> None:
    """Let `pullgate doctor` find this process. It works without."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.admin_host, settings.admin_host)  # noqa: S104
    with contextlib.suppress(OSError):
        note = PrivateFolder(directory).write_serving
        await asyncio.to_thread(note, settings.external_url, f"{host}:{proxy.admin_port}")


@contextlib.asynccontextmanager
async def _background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run a coroutine while the context is open. If it fails, the context raises CannotServe."""
    owner = asyncio.current_task()
    task = asyncio.create_task(work)

    def end(done: asyncio.Task[None]) -> None:
        if not done.cancelled() and done.exception() is not None and owner is not None:
            owner.cancel()

    task.add_done_callback(end)
    try:
        yield
    except asyncio.CancelledError:
        if task.done() and not task.cancelled() and task.exception() is not None:
            raise CannotServe(f"a part of it failed: {task.exception()}") from task.exception()
        raise
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _wait_until_told(reconciler: Reconciler, store: FolderStore) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while not reconciler.settled or await _is_unknown(store):  # noqa: ASYNC110 - a few rounds, once
                await asyncio.sleep(0.02)


async def _is_unknown(store: FolderStore) -> bool:
    registries = await store.list("Registry")
    return any(read_condition(document, "Ready").get("status", "Unknown") == "Unknown" for document in registries)


async def _write_public_key(store: FolderStore, directory: Path) -> None:
    """Write the public key, which checks a license file offline."""
    document = await store.get(LICENSE_KEY)
    if document is not None:
        with contextlib.suppress(ValueError):
            path = directory / ".pullgate" / PUBLIC_KEY_FILE
            await asyncio.to_thread(path.write_text, read_license_key(document)[1])


async def _count(proxy: Proxy, reconciler: Reconciler) -> None:
    """Pass the proxy's counts to each License's status."""
    last, more = 0, False
    while True:
        if not more:
            await asyncio.sleep(USAGE_SECONDS)
        _, last, more = await reconciler.take_usage(proxy.usage.render(proxy.usage.instance, last))


async def _tell_removals(store: FolderStore, board: Board) -> None:
    async for change in store.watch(frozenset({"Registry", "License"})):
        if isinstance(change, Change) and change.document is None:
            board.gone(change.key)
