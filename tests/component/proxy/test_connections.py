"""A client that says nothing, or too slowly, holds no connection; one that asks is not hurried."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import subprocess
import sys
from pathlib import Path

from tests.support.catalog import WORKER, seed
from tests.support.gate import APP, license_, registry, running, secret
from tests.support.upstreams import ScriptedRegistry, faults


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
    script = "from pullgate_proxy.connections import raise_descriptor_limit; print(raise_descriptor_limit())"
    command = ["prlimit", "--nofile=64:512", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "512"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 64
