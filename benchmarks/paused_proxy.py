"""The proxy that `pauses.py` measures, with a look at its event loop: `python benchmarks/paused_proxy.py CONFIG.json`.

It is run by its path, so that PYTHONPATH may name an older tree, which is then measured in the same way.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiohttp import web

from benchmarks.serve import APP, MemoryStore, build_documents
from pullgate.store.port import Key
from pullgate_proxy.app import Proxy
from pullgate_proxy.observe.pull_log import PullLog
from pullgate_proxy.settings import ProxySettings

TICK = 0.001


class Pauses:
    """The longest time for which the loop did not run."""

    def __init__(self) -> None:
        self.worst = 0.0
        """Seconds of this process's own processor time: those of its neighbours on the machine do not count."""

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            cpu, wall = time.process_time(), time.perf_counter()
            await asyncio.sleep(TICK)
            self.worst = max(self.worst, min(time.process_time() - cpu, time.perf_counter() - wall))


def _documents(config: dict[str, Any]) -> Iterator[tuple[Key, dict[str, Any]]]:
    yield from build_documents(config["upstream"], config["licenses"], [])
    for document in config["documents"]:
        yield Key(document["kind"], APP, document["metadata"]["name"]), document


async def main(config: dict[str, Any]) -> None:
    """Serve until SIGTERM. GET /worst answers the worst pause since the last such request, and begins anew."""
    settings = ProxySettings(listen_port=config["port"], admin_port=config["admin_port"], drain_seconds=1)
    pauses = Pauses()
    store = MemoryStore(_documents(config))

    async def worst(_: web.Request) -> web.Response:
        await asyncio.sleep(10 * TICK)  # a pause that has just ended is noted at the next tick
        found, pauses.worst = pauses.worst, 0.0
        return web.Response(text=str(found))

    async def publish(request: web.Request) -> web.Response:
        document = json.loads(await request.read())
        await asyncio.sleep(0.2)  # keeps the reading of the document out of the measurement
        pauses.worst = 0.0
        store.publish(Key(document["kind"], APP, document["metadata"]["name"]), document)
        return web.Response()

    app = web.Application(client_max_size=2**26)
    app.router.add_get("/worst", worst)
    app.router.add_post("/publish", publish)
    task = asyncio.create_task(pauses.run())
    with Path("/dev/null").open("w") as sink:
        proxy = Proxy(settings, store, PullLog(sink, "json"))
        await proxy.start()
        while not proxy.snapshot.synced:
            await asyncio.sleep(TICK)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", config["control_port"]).start()
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await stopped.wait()
        task.cancel()
        await proxy.stop()
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
