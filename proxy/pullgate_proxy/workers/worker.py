"""A worker: a whole proxy that a supervisor tells of changes. `python -m pullgate_proxy.workers.worker DESCRIPTOR`."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

from pullgate.clean_text import clean
from pullgate.log_lines import write_log
from pullgate.private_memory import keep_memory_private
from pullgate.store.port import Change, Synced
from pullgate_proxy.app import Proxy
from pullgate_proxy.cache.disk import BlobDir
from pullgate_proxy.ports import CannotListen
from pullgate_proxy.settings import InvalidSettings
from pullgate_proxy.shared import Shared
from pullgate_proxy.stop import stop_on_signals
from pullgate_proxy.workers.counting import LineBook, LineGate
from pullgate_proxy.workers.granting import LineElsewhere
from pullgate_proxy.workers.keeper import LineKeeper
from pullgate_proxy.workers.line import Handler, Line
from pullgate_proxy.workers.replay import read
from pullgate_proxy.workers.told import read_settings


class _Told:
    """The supervisor's changes, as a store that can be watched."""

    def __init__(self, on_synced: Callable[[], None]) -> None:
        """`on_synced` is called once the first full list was taken in."""
        self._on_synced = on_synced
        self._queue: asyncio.Queue[Change | Synced] = asyncio.Queue()
        self.hello: asyncio.Future[tuple[dict[str, Any], int, str, int | None]] = (
            asyncio.get_running_loop().create_future()
        )

    def take_hello(self, settings: dict[str, Any], number: int, instance: str, stamp: int | None) -> None:
        """Comes first."""
        self.hello.set_result((settings, number, instance, stamp))

    def take_change(self, *parts: Any) -> None:
        """See replay."""
        self._queue.put_nowait(read(*parts))

    def take_synced(self) -> None:
        """The first full list is in."""
        self._queue.put_nowait(Synced())

    async def watch(self, kinds: frozenset[str]) -> AsyncIterator[Change | Synced]:
        """See Store."""
        while True:
            change = await self._queue.get()
            yield change
            if isinstance(change, Synced):  # and who watches has come back for the next
                self._on_synced()


class Worker:
    """The two ends put together."""

    def __init__(self, sock: socket.socket) -> None:
        self._told = _Told(lambda: self._line.note("ready"))
        self._disk: list[Any] = [False, ""]
        self._keeper: LineKeeper | None = None
        self._proxy: Proxy | None = None
        handlers: dict[str, Handler] = {
            "hello": self._told.take_hello,
            "change": self._told.take_change,
            "synced": self._told.take_synced,
            "disk": self._take_disk,
            "metrics": self._render,
        }
        self._line = Line(sock, handlers)

    async def run(self) -> int:
        """Until SIGTERM, or until the supervisor is gone. The exit code."""
        stopped = stop_on_signals()
        await self._line.open()
        listening = asyncio.create_task(self._line.run())
        document, _, instance, stamp = await self._told.hello
        settings = read_settings(document)
        book = LineBook(lambda: self._line, instance)
        if settings.blob_cache is not None:
            self._keeper = LineKeeper(lambda: self._line, BlobDir(settings.blob_cache, stamp))
            self._keeper.take_state(*self._disk)
        shared = Shared(book, LineGate(lambda: self._line, book), self._keeper, LineElsewhere(lambda: self._line))
        self._proxy = proxy = Proxy(settings, self._told, shared=shared)
        try:
            await proxy.start()
            waiting = asyncio.create_task(stopped.wait())
            await asyncio.wait([waiting, listening], return_when=asyncio.FIRST_COMPLETED)
            await proxy.stop()
            book.tell()
            return 0 if stopped.is_set() else 1
        except (CannotListen, InvalidSettings) as error:
            print(f"pullgate: {clean(str(error))}", file=sys.stderr)  # noqa: T201 - as the command does
            return 1
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await self._line.close()

    def _take_disk(self, usable: bool, problem: str) -> None:
        self._disk = [usable, problem]
        if self._keeper is not None:
            self._keeper.take_state(usable, problem)

    async def _render(self) -> str:
        return (await self._proxy.render_metrics()).decode() if self._proxy is not None else ""


async def _serve(descriptor: int) -> int:
    return await Worker(socket.socket(fileno=descriptor)).run()


def main() -> int:
    """Serve; the exit code."""
    keep_memory_private()
    write_log(f"%(asctime)s %(levelname)s worker {os.getpid()} %(name)s: %(message)s")
    try:
        return asyncio.run(_serve(int(sys.argv[1])))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


if __name__ == "__main__":
    sys.exit(main())
