"""Overloaded is answered before memory or descriptors run out; what is running goes on, and so do logins and probes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web

from pullgate_proxy.listen.memory import read_resident
from pullgate_proxy.listen.ports import SIDE_CONNECTIONS as CONNECTIONS
from pullgate_proxy.listen.ports import SidePort
from pullgate_proxy.settings import ProxySettings
from tests.chaos.stage import Process, few_descriptors
from tests.support.catalog import WORKER, catalog, seed
from tests.support.gate import APP, Answer, Gate, basic, license_, registry, running
from tests.support.images import Image, image
from tests.support.ports import free_port
from tests.support.upstreams import ScriptedRegistry, faults

PATH = f"/v2/proxy/{APP}/up/{WORKER}"
MANIFEST = f"{PATH}/manifests/1.0.0"
WORKER_IMAGE = catalog()[WORKER, "1.0.0"]
BLOB = f"{PATH}/blobs/{WORKER_IMAGE.config}"


@dataclass(frozen=True, slots=True)
class World:
    gate: Gate
    upstream: ScriptedRegistry

    async def ask(self, path: str, method: str = "GET") -> Answer:
        return await self.gate.ask(method, path, self.gate.key("acme"))

    async def metrics(self) -> str:
        async with self.gate.session.get(f"http://127.0.0.1:{self.gate.proxy.admin_port}/metrics") as answer:
            return await answer.text()

    async def until_refused(self, cause: str) -> Answer:
        async with asyncio.timeout(10):
            while (answer := await self.ask(MANIFEST)).status != 503:
                await asyncio.sleep(0.05)
        assert (answer.fault, answer.code) == ("Overloaded", "UNAVAILABLE")
        assert int(answer.headers["Retry-After"]) >= 1
        assert f'pullgate_refused_total{{cause="{cause}"}}' in await self.metrics()
        return answer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with ScriptedRegistry() as upstream:
        await seed(upstream)
        documents = [registry("up", upstream.host), license_("acme")]
        async with running(tmp_path / "resources", *documents) as gate:
            yield World(gate, upstream)


async def test_near_the_end_of_memory_no_pull_begins_and_all_else_goes_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    gate_closed = asyncio.Event()
    world.upstream.on("GET", "/blobs/", faults.hang_after(10, gate_closed), times=1)
    running_one = asyncio.create_task(world.ask(BLOB))
    admission = world.gate.proxy.admission
    await world.gate.until(lambda: admission.running == 1)
    with caplog.at_level(logging.WARNING):
        admission.memory = read_resident()  # as if the limit were what it has
        await world.until_refused("memory")
    for path in (BLOB, f"{PATH}/tags/list", f"{PATH}/referrers/{WORKER_IMAGE.digest}"):
        assert (await world.ask(path)).fault == "Overloaded"
    assert (await world.ask(MANIFEST, "HEAD")).status == 503
    for path in ("/v2/", "/token"):
        assert (await world.ask(path)).status == 200
    for path in ("/readyz", "/healthz", "/metrics", "/usage"):
        async with world.gate.session.get(f"http://127.0.0.1:{world.gate.proxy.admin_port}{path}") as answer:
            assert answer.status == 200
    gate_closed.set()
    done = await running_one
    assert (done.status, done.body) == (200, WORKER_IMAGE.blobs[WORKER_IMAGE.config])
    admission.memory = 100 * read_resident()
    await world.gate.until_status(MANIFEST, world.gate.key("acme"), 200)
    told = [record.getMessage() for record in caplog.records if record.name == "pullgate_proxy.listen.admission"]
    assert len(told) == 1, "it is told once, not for each request"
    assert told[0].startswith("new pulls are refused: there is too little of memory")


async def test_without_a_limit_of_memory_none_is_looked_at(world: World) -> None:
    world.gate.proxy.admission.memory = None
    world.gate.proxy.admission.look()
    assert (await world.ask(MANIFEST)).status == 200


def a_large_manifest() -> Image:
    return image("large", annotations={"filler": "x" * 2_000_000})


async def test_manifests_that_are_read_share_one_budget(world: World) -> None:
    bodies = world.gate.proxy.admission.bodies
    large = a_large_manifest()
    await world.upstream.push("my-org/large", "1", large)
    path = f"/v2/proxy/{APP}/up/my-org/large/manifests/1"
    bodies.limit = len(large.manifest) * 4
    gate_closed = asyncio.Event()
    world.upstream.on("GET", "/manifests/", faults.hang_after(len(large.manifest) - 10, gate_closed), times=10)
    asked = [asyncio.create_task(world.ask(path)) for _ in range(10)]
    await world.gate.until(lambda: any(task.done() for task in asked))
    gate_closed.set()
    answers = await asyncio.gather(*asked)
    assert {answer.status for answer in answers} == {200, 429}
    assert {answer.fault for answer in answers} == {"", "ShareReached"}
    assert all(answer.body == large.manifest for answer in answers if answer.status == 200)
    await world.gate.until(lambda: bodies.used == 0)
    assert (await world.ask(path)).status == 200
    bodies.limit = len(large.manifest)
    assert (await world.ask(path)).fault == "ShareReached"
    assert (await world.ask(MANIFEST)).status == 200
    bodies.limit = 0
    assert (await world.ask(path)).fault == "Overloaded"
    assert 'pullgate_refused_total{cause="bodies"}' in await world.metrics()
    assert not list(world.gate.proxy._upstreams.down()), "the upstream is not taken for one that is down"


async def test_an_answer_that_a_client_does_not_read_is_in_the_budget_until_the_client_is_gone(world: World) -> None:
    bodies = world.gate.proxy.admission.bodies
    large = a_large_manifest()
    await world.upstream.push("my-org/large", "1", large)
    head = f"GET /v2/proxy/{APP}/up/my-org/large/manifests/1 HTTP/1.1\r\nHost: x\r\nAuthorization: "
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # before the connection, so that the kernel takes little
    sock.connect(("127.0.0.1", world.gate.proxy.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    request = f"{head}{basic('acme', world.gate.key('acme'))}\r\n\r\n".encode()
    writer.write(request * 4)  # the first answers are in the kernel's buffers
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    await world.gate.until(lambda: bodies.used == len(large.manifest))
    shown = next(line for line in (await world.metrics()).splitlines() if line.startswith('pullgate_load{of="bodies"}'))
    assert float(shown.split()[1]) == bodies.used
    writer.transport.abort()
    await world.gate.until(lambda: bodies.used == 0)


async def test_forms_have_a_part_of_the_budget_that_pulls_do_not_need(world: World) -> None:
    admission = world.gate.proxy.admission
    admission._forms.limit = 13_000  # a third of it is for one address
    body = b"grant_type=password&" + b"x" * 4_000
    head = b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n"
    _, slow = await asyncio.open_connection("127.0.0.1", world.gate.proxy.port)
    slow.write(head + body)
    await world.gate.until(lambda: admission._forms.used == len(body))
    refused = await world.gate.ask("POST", "/token", data=body)
    assert (refused.status, refused.fault) == (429, "ShareReached")
    assert refused.message.startswith(f"your address has {len(body)} bytes")
    form = {"grant_type": "password", "username": "acme", "password": world.gate.key("acme")}
    assert (await world.gate.ask("POST", "/token", data=form)).status == 200
    assert (await world.ask("/token")).status == 200
    assert (await world.ask(MANIFEST)).status == 200
    slow.transport.abort()
    await world.gate.until(lambda: admission._forms.used == 0)


# --- a process of its own, whose descriptors are few ---


@contextlib.asynccontextmanager
async def process(
    directory: Path, upstream: ScriptedRegistry, files: int, apps: tuple[str, ...] = (APP,)
) -> AsyncIterator[tuple[Process, list[str]]]:
    """A proxy with `files` descriptors, and the key of each app's License."""
    folder = directory / "folder"
    folder.mkdir()
    documents = [(registry("up", upstream.host, namespace=app), license_("acme", namespace=app)) for app in apps]
    (folder / "all.yaml").write_text(yaml.safe_dump_all(document for pair in documents for document in pair))
    proxy = Process(folder, free_port(), wrap=few_descriptors(files))
    await proxy.start()
    try:
        async with asyncio.timeout(10):
            while "Serving" not in proxy.log.read_text():
                await asyncio.sleep(0.05)
        yield proxy, [the_key(folder, app) for app in apps]
    finally:
        await proxy.end()


def the_key(folder: Path, app: str) -> str:
    path = folder / ".pullgate" / "secrets" / app / "acme-pull.yaml"
    config = json.loads(yaml.safe_load(path.read_text())["stringData"][".dockerconfigjson"])
    return base64.b64decode(next(iter(config["auths"].values()))["auth"]).decode().partition(":")[2]


async def status(session: aiohttp.ClientSession, proxy: Process, path: str, key: str) -> tuple[int, str]:
    """Status code and X-Pullgate-Reason. Retries if the connection is closed before an answer."""
    headers = {"Authorization": basic("acme", key)}
    while True:
        with contextlib.suppress(aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            async with session.get(f"http://127.0.0.1:{proxy.port}{path}", headers=headers) as answer:
                await answer.read()
                return answer.status, answer.headers.get("X-Pullgate-Reason", "")


async def level(session: aiohttp.ClientSession, proxy: Process, series: str) -> float:
    async with session.get(f"http://127.0.0.1:{proxy.admin}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return float(next(line for line in lines if line.startswith(series + " ")).rpartition(" ")[2])


async def test_more_pulls_than_descriptors_are_refused_in_words_and_none_fails_for_want_of_one(tmp_path: Path) -> None:
    async with ScriptedRegistry() as upstream:
        await seed(upstream)
        gate_closed = asyncio.Event()
        apps = tuple(f"app-{number}" for number in range(40))
        async with process(tmp_path, upstream, 128, apps) as (proxy, keys):
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            async with aiohttp.ClientSession(connector=connector) as session:
                for app, key in zip(apps, keys, strict=True):
                    async with asyncio.timeout(10):
                        while (await status(session, proxy, MANIFEST.replace(APP, app), key))[0] != 200:
                            await asyncio.sleep(0.05)
                # No first byte: a body that stalls ends after 30 s, and who waits for a seat is refused after 20.
                upstream.on("GET", "/blobs/", faults.hang(gate_closed))
                pulls = [(BLOB.replace(APP, app), key) for app, key in zip(apps, keys, strict=True) for _ in range(5)]
                # Two apps' first, so that some wait for their app's share before the others have taken all room.
                asked = [asyncio.create_task(status(session, proxy, path, key)) for path, key in pulls[:10]]
                async with asyncio.timeout(10):
                    while not await level(session, proxy, 'pullgate_load{of="waiting"}'):
                        await asyncio.sleep(0.05)
                asked += [asyncio.create_task(status(session, proxy, path, key)) for path, key in pulls[10:]]
                limit = await level(session, proxy, 'pullgate_load_limit{of="requests"}')
                async with asyncio.timeout(60):
                    while sum(not task.done() for task in asked) > limit:
                        await asyncio.sleep(0.05)
                done, waiting = await asyncio.wait(asked, timeout=0.2)
                refused = [task.result() for task in done]
                assert set(refused) == {(503, "Overloaded"), (429, "ShareReached")}
                assert len(waiting) == limit
                assert await level(session, proxy, 'pullgate_load{of="descriptors"}') < 128
                overloaded = refused.count((503, "Overloaded"))
                assert await level(session, proxy, 'pullgate_refused_total{cause="requests"}') == overloaded
                gate_closed.set()
                assert {await task for task in waiting} == {(200, "")}
        assert "Too many open files" not in proxy.log.read_text()
        assert "Traceback" not in proxy.log.read_text()


async def test_connections_that_somebody_forgot_on_the_admin_port_keep_no_probe_out(world: World) -> None:
    port = world.gate.proxy.admin_port
    forgotten = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5 * CONNECTIONS)]
    async with asyncio.timeout(10):
        assert await forgotten[0][0].read() == b""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as answer:
        assert answer.status == 200
    for _, writer in forgotten:
        writer.transport.abort()


async def test_on_the_admin_port_what_is_being_answered_is_not_ended_for_room() -> None:
    """Other replicas fetch blobs there."""
    gate_closed = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        await gate_closed.wait()
        return web.Response(text="whole")

    app = web.Application()
    app.router.add_get("/slow", slow)
    admin = SidePort(app, ProxySettings())
    port = await admin.open("127.0.0.1", 0, "--admin")
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def ask() -> str:
                async with session.get(f"http://127.0.0.1:{port}/slow") as answer:
                    return await answer.text()

            asked = [asyncio.create_task(ask()) for _ in range(2 * CONNECTIONS)]
            forgotten = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2 * CONNECTIONS)]
            async with asyncio.timeout(10):
                assert await forgotten[0][0].read() == b""
            gate_closed.set()
            assert set(await asyncio.gather(*asked)) == {"whole"}
            for _, writer in forgotten:
                writer.transport.abort()
    finally:
        await admin.close()


def limit_descriptors(proxy: Process, count: int) -> None:
    subprocess.run(["prlimit", f"--nofile={count}:4096", f"--pid={proxy.pid}"], check=True)


def descriptors(proxy: Process) -> int:
    return len(os.listdir(f"/proc/{proxy.pid}/fd"))


def processor_seconds(proxy: Process) -> float:
    fields = Path(f"/proc/{proxy.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_without_any_descriptor_it_neither_spins_nor_floods_its_log_and_comes_back(tmp_path: Path) -> None:
    async with ScriptedRegistry() as upstream:
        await seed(upstream)
        async with process(tmp_path, upstream, 4096) as (proxy, [key]), aiohttp.ClientSession() as session:
            async with asyncio.timeout(10):
                while (await status(session, proxy, MANIFEST, key))[0] != 200:
                    await asyncio.sleep(0.05)
            limit_descriptors(proxy, 8)  # fewer than are open: every accept fails
            writers = [(await asyncio.open_connection("127.0.0.1", proxy.port))[1] for _ in range(50)]
            probes = [(await asyncio.open_connection("127.0.0.1", proxy.admin))[1] for _ in range(5)]
            before, log = processor_seconds(proxy), proxy.log.read_text()
            await asyncio.sleep(3)
            used = processor_seconds(proxy) - before
            assert used < 0.5, "a loop that waits for nothing would take what it gets"
            told = proxy.log.read_text()[len(log) :]
            assert told.count("a connection waits: Too many open files") <= 2  # customers' port, admin port
            assert len(told.splitlines()) < 20
            assert "Traceback" not in told
            limit_descriptors(proxy, 4096)
            async with asyncio.timeout(10):
                while (await status(session, proxy, MANIFEST, key))[0] != 200:
                    await asyncio.sleep(0.05)
            for writer in (*writers, *probes):
                writer.transport.abort()


async def test_an_upstream_for_which_there_is_no_descriptor_is_not_said_to_be_down(tmp_path: Path) -> None:
    async with ScriptedRegistry() as upstream:
        await seed(upstream)
        async with process(tmp_path, upstream, 4096) as (proxy, [key]), aiohttp.ClientSession() as session:
            async with asyncio.timeout(10):
                while (await status(session, proxy, "/v2/", key))[0] != 200:
                    await asyncio.sleep(0.05)
            limit_descriptors(proxy, 8)
            told = [await status(session, proxy, MANIFEST, key) for _ in range(8)]
            assert set(told) == {(503, "Overloaded")}
            limit_descriptors(proxy, 4096)
            async with asyncio.timeout(10):
                while (await status(session, proxy, MANIFEST, key))[0] != 200:
                    await asyncio.sleep(0.05)
        assert "it is left alone" not in proxy.log.read_text()
