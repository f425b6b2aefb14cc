"""A client that says nothing, or too slowly, holds no connection; one that asks is not hurried."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.catalog import WORKER, seed
from tests.support.gate import ACCEPT, APP, Gate, basic, license_, registry, running, secret
from tests.support.images import large_image
from tests.support.tls import Authority
from tests.support.upstreams import ScriptedRegistry, faults

MANIFEST = f"/v2/proxy/{APP}/up/{WORKER}/manifests/1.0.0"


async def test_a_connection_without_a_whole_request_is_closed(tmp_path: Path) -> None:
    async with running(tmp_path / "folder", keepalive_timeout=0.4) as gate:
        silent = await asyncio.open_connection("127.0.0.1", gate.proxy.port)
        slow = await asyncio.open_connection("127.0.0.1", gate.proxy.port)
        slow[1].write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        async with asyncio.timeout(10):
            for reader, writer in (silent, slow):
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
                writer.close()
        assert (await gate.get("/v2/")).status == 401


async def test_a_request_that_takes_its_time_is_answered_and_its_connection_serves_again(tmp_path: Path) -> None:
    async with ScriptedRegistry("basic") as upstream:
        await seed(upstream)
        gate_closed = asyncio.Event()
        upstream.on("GET", "/manifests/", faults.hang(gate_closed), after_login=True)
        documents = [
            secret("vendor", upstream.username, upstream.password),
            registry("up", upstream.host, secret="vendor"),
            license_("acme"),
        ]
        async with running(tmp_path / "folder", *documents, keepalive_timeout=0.2) as gate:
            path = f"/v2/proxy/{APP}/up/{WORKER}/manifests/1.0.0"
            asked = asyncio.create_task(gate.get(path, gate.key("acme")))
            await asyncio.sleep(1)
            gate_closed.set()
            assert (await asked).status == 200


def test_all_descriptors_that_may_be_had_are_taken() -> None:
    script = "from pullgate_proxy.listen.connections import raise_descriptor_limit; print(raise_descriptor_limit())"
    command = ["prlimit", "--nofile=64:512", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "512"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 64


LIMIT = 64
"""Connections that a proxy of these tests may have."""


@dataclass(slots=True)
class Crowd:
    """Clients that connect from one address and say nothing, and come again where they are closed."""

    port: int
    address: str = "127.0.0.1"
    say: bytes = b""
    met: int = 0
    """Connections that were closed."""

    async def _one(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(self.address, 0))
                try:
                    writer.write(self.say)
                    while await reader.read(4096):
                        pass
                finally:
                    writer.transport.abort()
            self.met += 1
            await asyncio.sleep(0.2)

    @contextlib.asynccontextmanager
    async def pressing(self, count: int) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._one()) for _ in range(count)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def serving(directory: Path, **settings: Any) -> AsyncIterator[tuple[Gate, ScriptedRegistry]]:
    async with ScriptedRegistry() as upstream:
        await seed(upstream)
        documents = [registry("up", upstream.host), license_("acme")]
        async with running(directory, *documents, max_connections=LIMIT, **settings) as gate:
            yield gate, upstream


async def pull_anew(gate: Gate, path: str = MANIFEST) -> int:
    """The status that a client with a key meets who connects only now."""
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": basic("acme", gate.key("acme")), "Accept": ACCEPT}
        async with asyncio.timeout(10), session.get(gate.url + path, headers=headers) as answer:
            await answer.read()
            return answer.status


@pytest.mark.parametrize("say", [b"", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: "], ids=["nothing", "half a head"])
async def test_clients_that_say_nothing_keep_nobody_out(tmp_path: Path, say: bytes) -> None:
    async with serving(tmp_path / "folder") as (gate, _):
        crowd = Crowd(gate.proxy.port, say=say)
        async with crowd.pressing(3 * LIMIT):
            await gate.until(lambda: crowd.met > 2 * LIMIT)
            for _ in range(20):
                assert await pull_anew(gate) == 200
                assert len(gate.proxy.admission.connections) <= LIMIT


async def test_clients_that_are_slow_to_send_a_form_keep_nobody_out(tmp_path: Path) -> None:
    async with serving(tmp_path / "folder", max_requests=4) as (gate, _):
        head = b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\ngrant_type="
        async with Crowd(gate.proxy.port, say=head).pressing(3 * LIMIT):
            await gate.until(lambda: len(gate.proxy.admission.connections) >= LIMIT)
            for _ in range(20):
                assert await pull_anew(gate) == 200
        await gate.until(lambda: not gate.proxy.admission.running)


async def test_the_connection_of_a_pull_is_not_idle(tmp_path: Path) -> None:
    async with serving(tmp_path / "folder") as (gate, upstream):
        gate_closed = asyncio.Event()
        upstream.on("GET", "/manifests/", faults.hang(gate_closed))
        asked = asyncio.create_task(pull_anew(gate))
        await gate.until(lambda: gate.proxy.admission.running == 1)
        crowd = Crowd(gate.proxy.port)
        async with crowd.pressing(3 * LIMIT):
            await gate.until(lambda: crowd.met > 2 * LIMIT)
            gate_closed.set()
            assert await asked == 200


async def test_the_one_that_has_been_idle_longest_is_closed_first(tmp_path: Path) -> None:
    async with serving(tmp_path / "folder") as (gate, _):
        opened = []
        for number in range(LIMIT):
            address = (f"127.0.0.{number + 1}", 0)  # of one address half would be too many
            opened.append(await asyncio.open_connection("127.0.0.1", gate.proxy.port, local_addr=address))
        await gate.until(lambda: len(gate.proxy.admission.connections) == LIMIT)
        reader, writer = opened[0]
        writer.write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
        _, newest = await asyncio.open_connection("127.0.0.1", gate.proxy.port, local_addr=("127.0.0.99", 0))
        assert await opened[1][0].read() == b""
        writer.write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).count(b"HTTP/1.1 401") == 1
        for _, each in (*opened, (None, newest)):
            each.transport.abort()


async def test_a_crowd_from_one_address_pushes_out_its_own(tmp_path: Path) -> None:
    async with serving(tmp_path / "folder") as (gate, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.proxy.port, local_addr=("127.0.0.2", 0))
        writer.write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
        crowd = Crowd(gate.proxy.port)
        async with crowd.pressing(3 * LIMIT):
            await gate.until(lambda: crowd.met > 2 * LIMIT)
            assert len(gate.proxy.admission.connections) <= LIMIT
        writer.write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).count(b"HTTP/1.1 401") == 1
        writer.close()


async def test_a_head_without_an_end_is_not_kept_and_a_long_one_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path / "folder") as (gate, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.proxy.port)
        field = b"X-Long: " + b"a" * 8000 + b"\r\n"
        writer.write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + 3 * field + b"Connection: close\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.proxy.port)
        writer.write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                writer.write(field)
                await writer.drain()
                await asyncio.sleep(0)
            assert await reader.read() == b""
        await gate.until(lambda: not gate.proxy.admission.connections.idle)
        assert 'pullgate_closed_connections_total{why="head"} 1.0' in gate.proxy.metrics.render().decode()


async def test_a_client_that_takes_nothing_of_a_blob_gives_its_place_up(tmp_path: Path) -> None:
    async with serving(tmp_path / "folder", stall_timeout=1.0) as (gate, upstream):
        image = large_image(64 * 2**20)
        await upstream.push("my-org/large", "1", image)
        path = f"/v2/proxy/{APP}/up/my-org/large/blobs/{next(iter(image.streams))}"
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic('acme', gate.key('acme'))}\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.proxy.port, limit=1024)
        writer.write(head.encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await gate.until(lambda: not gate.proxy.admission.running)
        await gate.until(lambda: bool(gate.records()))
        assert gate.records()[-1]["reason"] == "ClientGone"
        writer.transport.abort()


async def test_a_tls_handshake_that_hangs_makes_room_for_one_that_does_not(
    tmp_path: Path, authority: Authority
) -> None:
    cert, key = authority.write_pair(tmp_path)
    async with running(
        tmp_path / "folder", license_("acme"), tls_cert=cert, tls_key=key, max_connections=LIMIT
    ) as gate:
        crowd = Crowd(gate.proxy.port)
        trust = ssl.create_default_context(cadata=authority.pem)
        async with crowd.pressing(3 * LIMIT):
            await gate.until(lambda: crowd.met > 2 * LIMIT)
            for _ in range(10):
                assert len(gate.proxy.admission.connections) <= LIMIT
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", gate.proxy.port, ssl=trust, server_hostname="localhost"
                )
                writer.write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert (await reader.readline()).startswith(b"HTTP/1.1 401")
                writer.transport.abort()
        await gate.until(lambda: not len(gate.proxy.admission.connections))


async def test_a_client_that_goes_leaves_no_traceback(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path / "folder") as (gate, upstream):
        upstream.on("GET", "/manifests/", faults.hang())
        for say in (
            f"GET {MANIFEST} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic('acme', gate.key('acme'))}\r\n\r\n",
            "POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ngrant",
        ):
            _, writer = await asyncio.open_connection("127.0.0.1", gate.proxy.port)
            writer.write(say.encode())
            await gate.until(lambda: len(gate.proxy.admission.connections) == 1)
            await asyncio.sleep(0.1)
            writer.transport.abort()
            await gate.until(lambda: len(gate.proxy.admission.connections) == 0)
        await gate.until(lambda: {record["reason"] for record in gate.records()} >= {"ClientGone"})
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_what_is_counted_is_given_back_when_all_are_gone(tmp_path: Path) -> None:
    async with serving(tmp_path / "folder") as (gate, _):
        for _ in range(3):
            assert await pull_anew(gate) == 200
        admission = gate.proxy.admission
        await gate.until(lambda: not len(admission.connections))
        assert (admission.running, admission.bodies.used, admission.connections.idle) == (0, 0, 0)
        assert not admission.connections._idle_of
