"""A hostile app as a process: its servers, its clients, and what it writes. `python -m tests.support.hostile.process`.

It talks in lines of JSON. It reads `{"blobs": …}`, prints the addresses of its servers, reads its target and attacks
(`Order`), plays them until the next line, and prints what it saw (`Seen`). It is the last to have a processor.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pullgate.store.cluster.api import Api
from pullgate.store.port import StoreUnavailable
from tests.support.hostile.app import build_large_license
from tests.support.hostile.clients import ATTACKS, Clients, Target
from tests.support.hostile.upstream import HangingRegistry, HostileRegistry, ListeningRegistry

WRITING = "what its owner writes"
"""All its resources, then a large License again and again."""
ALL = (*ATTACKS, WRITING)
WRITE_SECONDS = 0.5
NICE = 19


@dataclass(frozen=True, slots=True)
class Order:
    """The attacks to play."""

    target: dict[str, Any]
    """A Target's fields."""
    kubeconfig: str
    """The kubeconfig of somebody with the rights of `edit` in the app's namespace."""
    attacks: list[str]


@dataclass(frozen=True, slots=True)
class Seen:
    """The outcome."""

    answers: dict[str, dict[str, int]]
    """Attack -> answer -> how often."""
    foreign: int
    """Bytes of blobs that are another's."""
    credentials: list[str]
    """Requests at its servers that had an Authorization."""
    asked: dict[str, int]
    """Requests at each server."""


async def main() -> None:
    """Serve, attack, report."""
    lines = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    blobs = json.loads(await lines.readline())["blobs"]
    async with HostileRegistry(blobs) as up, HangingRegistry() as stuck, ListeningRegistry() as trap:
        servers = {"up": up, "stuck": stuck, "trap": trap}
        _tell({name: server.host for name, server in servers.items()})
        found: dict[str, dict[str, int]] = {}
        foreign = 0
        while line := await lines.readline():
            order = Order(**json.loads(line))
            clients = Clients(Target(**order.target))
            await _play(clients, order, lines)
            found = {name: dict(count) for name, count in clients.answers.items()}
            foreign += clients.foreign
            secret = [
                f"{name}: {one.method} {one.path}"
                for name, server in servers.items()
                for one in server.requests
                if "Authorization" in one.headers
            ]
            _tell(
                asdict(Seen(found, foreign, secret, {name: len(server.requests) for name, server in servers.items()}))
            )


async def _play(clients: Clients, order: Order, lines: asyncio.StreamReader) -> None:
    """Until the next line."""
    playing: list[asyncio.Task[None]] = [
        asyncio.create_task(clients.run([name for name in order.attacks if name in ATTACKS]))
    ]
    if WRITING in order.attacks:
        playing.append(asyncio.create_task(_write(Path(order.kubeconfig), order.target["namespace"])))
    ended = asyncio.create_task(lines.readline())
    await asyncio.wait({ended, *playing}, return_when=asyncio.FIRST_COMPLETED)
    for task in playing:
        task.cancel()
    await asyncio.gather(*playing, return_exceptions=True)
    for task in playing:
        if not task.cancelled():
            task.result()  # an attack ends by its failure alone
    await ended


async def _write(kubeconfig: Path, namespace: str) -> None:
    """A large License, another one each time."""
    path = f"/apis/pullgate.dev/v1alpha1/namespaces/{namespace}/licenses/large"
    async with await Api.load(kubeconfig) as api:
        turn = 0
        while True:
            turn += 1
            spec = {"spec": build_large_license(namespace, turn)["spec"]}
            with contextlib.suppress(StoreUnavailable):
                await api.patch(path, spec, "application/merge-patch+json")
            await asyncio.sleep(WRITE_SECONDS)


def _tell(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    os.nice(NICE)
    asyncio.run(main())
