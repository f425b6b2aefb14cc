"""Small answers go out in one piece, and leave the connection as the client wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate_proxy.pipeline.whole import render_head
from tests.support.catalog import WORKER, catalog, seed
from tests.support.gate import APP, Gate, basic, license_, registry, running
from tests.support.upstreams import ScriptedRegistry

IMAGE = catalog()[WORKER, "1.0.0"]
PATH = f"/v2/proxy/{APP}/up/{WORKER}/manifests/1.0.0"


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    async with ScriptedRegistry() as upstream:
        await seed(upstream)
        documents = [registry("up", upstream.host), license_("acme")]
        async with running(tmp_path / "folder", *documents, manifest_cache=2**20) as made:
            yield made


async def exchange(gate: Gate, *requests: str) -> bytes:
    """The bytes that arrive on one connection until it closes; `<open>` ends them if it is open after 1 s."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.proxy.port)
    login = basic("acme", gate.key("acme"))
    received = b""
    for request in requests:
        writer.write(f"{request}\r\nHost: localhost\r\nAuthorization: {login}\r\n\r\n".encode())
    try:
        async with asyncio.timeout(1.0):
            while data := await reader.read(65536):
                received += data
    except TimeoutError:
        received += b"<open>"
    writer.close()
    return received


@pytest.mark.parametrize(
    ("request_line", "stays_open", "says"),
    [
        ("GET {path} HTTP/1.1", True, None),
        ("GET {path} HTTP/1.1\r\nConnection: close", False, b"Connection: close"),
        ("GET {path} HTTP/1.0", False, b"Connection: close"),
        ("GET {path} HTTP/1.0\r\nConnection: keep-alive", True, b"Connection: keep-alive"),
    ],
)
async def test_the_connection_is_kept_or_closed_as_the_client_wants(
    gate: Gate, request_line: str, stays_open: bool, says: bytes | None
) -> None:
    received = await exchange(gate, request_line.format(path=PATH))
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nDate: " in received
    assert received.removesuffix(b"<open>").endswith(IMAGE.manifest)
    assert received.endswith(b"<open>") is stays_open
    assert (says is None and b"Connection" not in received) or (says is not None and says in received)


async def test_many_requests_of_one_connection_are_answered_in_their_order(gate: Gate) -> None:
    received = await exchange(gate, *[f"GET {PATH} HTTP/1.1", f"HEAD {PATH} HTTP/1.1", "GET /v2/ HTTP/1.1"] * 5)
    assert received.count(b"HTTP/1.1 200 OK") == 15
    assert received.count(IMAGE.manifest) == 5
    assert received.count(f"Content-Length: {len(IMAGE.manifest)}\r\n".encode()) == 10
    assert received.endswith(b"{}<open>")


@given(st.text(max_size=20), st.sampled_from(["\r", "\n", "\0", "\x7f", "\r\nSet-Cookie: x"]))
def test_no_header_breaks_out_of_its_line(text: str, breaking: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        render_head(200, {"Content-Type": f"{text}{breaking}{text}"})
