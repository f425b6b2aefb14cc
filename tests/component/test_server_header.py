"""No answer of a handler, the router or aiohttp's parser tells the versions of Python and aiohttp."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from tests.component.test_core_files import kubeconfig
from tests.component.test_standalone import standalone
from tests.support.folder import Folder, eventually, registry_text
from tests.support.gate import Gate, running
from tests.support.ports import free_port

REQUESTS = {
    "a handler": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "a login": b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "no route": b"GET /nothing/here HTTP/1.1\r\nHost: x\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\r\n\r\n",
    "a head too long": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    "an invalid header": b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "an expectation": b"GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: the impossible\r\n\r\n",
}


async def answer_of(port: int, request: bytes) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return head.decode("latin-1")


async def listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        await answer_of(port, REQUESTS["a handler"])
        return True
    return False


def check(head: str) -> None:
    assert head.startswith(("HTTP/1.1 ", "HTTP/1.0 ")), head
    assert re.findall(r"(?im)^server: *(.*?)\r$", head) in (["pullgate"], [])
    assert not re.search(r"python|aiohttp", head, re.IGNORECASE), head


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    peers = {"peer_fetch": (("127.0.0.1", 9),), "peer_listen": ("127.0.0.1", free_port())}
    async with running(tmp_path / "r", blob_cache=tmp_path / "cache", **peers) as gate:
        yield gate


@pytest.mark.parametrize("made_by", REQUESTS)
async def test_the_ports_of_a_proxy_tell_no_version(gate: Gate, made_by: str) -> None:
    for port in (gate.proxy.port, gate.proxy.admin_port, gate.proxy.settings.peer_listen[1]):
        check(await answer_of(port, REQUESTS[made_by]))


async def test_the_admin_port_of_an_operator_tells_no_version(tmp_path: Path) -> None:
    config, port = tmp_path / "kubeconfig", free_port()
    config.write_text(yaml.safe_dump(kubeconfig(f"http://127.0.0.1:{free_port()}")))
    options = ["--external-url", "https://images.test", "--kubeconfig", str(config), "--admin", f"127.0.0.1:{port}"]
    with (tmp_path / "stderr").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pullgate_cli", "operator", *options, stderr=log
        )
    try:
        await eventually(functools.partial(listens, port))
        for request in REQUESTS.values():
            check(await answer_of(port, request))
    finally:
        process.kill()
        await process.wait()


async def test_standalone_tells_no_version(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "folder")
    folder.write("registry.yaml", registry_text("registry.test"))
    async with standalone(folder) as running:
        admin = json.loads((folder.path / ".pullgate" / "serving.json").read_text())["admin"]
        for request in REQUESTS.values():
            check(await answer_of(running.port, request))
            check(await answer_of(int(admin.rpartition(":")[2]), request))
