"""Names whose server never answers hold a share of the threads, and their askers are answered in time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from pullgate import faults
from pullgate.policy.tenancy import LOOPBACK
from pullgate.shares import Holders, registry_holders
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import Timeouts, UpstreamConfig
from pullgate.upstream.names import Found, Names
from pullgate.upstream.request import UpstreamRequest
from tests.component.upstream.stage import Reply, Stage

MANIFEST = UpstreamRequest("GET", "a/b", "manifests", "1")
IMAGE = b'{"schemaVersion": 2, "config": {}, "layers": []}'
OK = Reply(200, IMAGE, {"Content-Type": "application/vnd.oci.image.manifest.v1+json"})


class NameServer:
    """Looks names up as the system does, but names below .stuck get no answer until `answer`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answered = threading.Event()

    def find(self, host: str, port: object, **_: Any) -> Found:
        self.asked.append(host)
        if host.endswith(".stuck"):
            self._answered.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    def answer(self) -> None:
        self._answered.set()


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.answer()


def of(registry: str) -> Holders:
    return registry_holders(*registry.split("/"))


@contextlib.asynccontextmanager
async def asking(names: Names, asked: list[tuple[str, str]]) -> AsyncIterator[list[asyncio.Task[Found]]]:
    """Look-ups of (host, Registry) on their way."""
    tasks = [asyncio.create_task(names.find(host, 0, of(registry))) for host, registry in asked]
    await asyncio.sleep(0.05)
    yield tasks
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_names_of_two_hostile_apps_leave_threads_for_a_third(server: NameServer) -> None:
    names = Names(server.find, seconds=1.0)
    stuck = [(f"n{number}.stuck", f"{app}/r{number % 5}") for number in range(40) for app in ("one", "two")]
    async with asking(names, stuck) as tasks:
        assert names.stuck < 16
        began = time.monotonic()
        assert (await names.find("quick.test", 0, of("three/up")))[0][4] == ("127.0.0.1", 0)
        assert time.monotonic() - began < 0.5
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(one) for one in found} == {socket.gaierror}, "who waits is answered, though the thread is stuck"
        assert time.monotonic() - began < 1.5


async def test_one_registry_whose_names_are_stuck_leaves_threads_for_others_of_its_app(server: NameServer) -> None:
    names = Names(server.find, seconds=0.5)
    async with asking(names, [(f"n{number}.stuck", "one/slow") for number in range(40)]):
        assert await names.find("quick.test", 0, of("one/up"))


async def test_a_stuck_name_holds_one_thread_and_is_refused_at_once_while_it_does(server: NameServer) -> None:
    names = Names(server.find, seconds=0.2)
    async with asking(names, [("n.stuck", "one/up")] * 20) as tasks:
        assert server.asked == ["n.stuck"]
        await asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(20):
        began = time.monotonic()
        with pytest.raises(socket.gaierror):
            await names.find("n.stuck", 0, of("one/up"))
        assert time.monotonic() - began < 0.1
    assert (server.asked, names.stuck) == (["n.stuck"], 1)
    server.answer()
    async with asyncio.timeout(5):
        while names.stuck:
            await asyncio.sleep(0.01)


async def test_a_look_up_of_one_app_never_waits_behind_that_of_another_for_the_same_name(server: NameServer) -> None:
    names = Names(server.find, threads=4, seconds=0.5)
    many = [(f"n{number}.stuck", "one/up") for number in range(20)]
    async with asking(names, [*many, ("shared.test", "one/up")]) as tasks:
        assert not tasks[-1].done(), "it waits for a thread, of which its app has its share"
        assert await names.find("shared.test", 0, of("two/up"))


async def test_an_upstream_is_asked_while_names_of_another_are_stuck(server: NameServer) -> None:
    names = Names(server.find, threads=4)
    timeouts = Timeouts(connect=0.3, total=1.0)
    async with Stage(lambda _: OK) as stage:
        good = UpstreamConfig("two/up", "good.test", f"good.test:{stage.port}", plain_http=True, networks=LOOPBACK)
        bad = [
            UpstreamConfig("one/up", f"n{number}.stuck", f"n{number}.stuck", timeouts=timeouts, networks=LOOPBACK)
            for number in range(16)
        ]
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(Upstream(config, names=names)) for config in bad]
            asked = [asyncio.create_task(client.fetch_manifest(MANIFEST)) for client in clients]
            await asyncio.sleep(0.1)
            async with Upstream(good, names=names) as upstream:
                assert (await upstream.fetch_manifest(MANIFEST)).body == IMAGE
            found = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(fault) for fault in found} <= {faults.UpstreamTimeout, faults.UpstreamUnreachable}
    server.answer()
