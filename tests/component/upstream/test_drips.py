"""An upstream that sends without end, or byte by byte, costs a bounded time and nobody else's memory."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader

from pullgate import faults
from pullgate.policy.tenancy import LOOPBACK
from pullgate.shares import Shares
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import Timeouts, UpstreamConfig
from pullgate.upstream.heads import INTERIM_LIMIT, STEP, BoundedHeads
from pullgate.upstream.request import UpstreamRequest

MANIFEST = UpstreamRequest("GET", "a/b", "manifests", "1")
TAGS = UpstreamRequest("GET", "a/b", "tags")
QUICK = Timeouts(connect=0.3, first_byte=0.4, blob_first_byte=0.4, idle=0.5, total=5.0)
IMAGE = b'{"schemaVersion": 2, "config": {}, "layers": []}'
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

Send = Callable[[asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def upstream_that(send: Send, budget: Shares | None = None) -> AsyncIterator[Upstream]:
    """A client of a server that answers each request by `send`, byte for byte."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await send(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    config = UpstreamConfig(
        "my-app/slow", "slow.test", f"127.0.0.1:{port}", plain_http=True, timeouts=QUICK, networks=LOOPBACK
    )
    async with Upstream(config, budget=budget) as upstream:
        yield upstream
    server.close()


async def drip(writer: asyncio.StreamWriter, begin: bytes, again: bytes, pause: float = 0.02) -> None:
    writer.write(begin)
    while True:
        writer.write(again)
        await writer.drain()
        await asyncio.sleep(pause)


async def fault_and_seconds(asking: Awaitable[object]) -> tuple[faults.Fault, float]:
    began = time.monotonic()
    with pytest.raises(faults.Fault) as raised:
        async with asyncio.timeout(5):
            await asking
    return raised.value, time.monotonic() - began


async def test_a_flood_of_interim_answers_ends_its_connection_before_its_answer() -> None:
    async def flood(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * (INTERIM_LIMIT + 1))
        writer.write(JSON + b"Content-Length: %d\r\n\r\n" % len(IMAGE) + IMAGE)
        await writer.drain()

    async with upstream_that(flood) as upstream:
        fault, seconds = await fault_and_seconds(upstream.fetch_manifest(MANIFEST))
    assert isinstance(fault, faults.UpstreamProtocol)
    assert seconds < QUICK.first_byte


class Counted(BoundedHeads):
    """Counts the heads that aiohttp has parsed."""

    heads = 0

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        self.heads += 1
        super().feed_data(data, size)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"HTTP/1.1 103 Early Hints\r\n\r\n", id="interim answers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", id="answers that nobody asked for"),
    ],
)
async def test_of_a_flood_of_heads_in_one_read_few_are_parsed(head: bytes) -> None:
    protocol = Counted(asyncio.get_running_loop())
    protocol.set_response_params(skip_payload=False, read_until_eof=True)
    protocol.data_received(head * 10_000)
    assert protocol.heads <= STEP // len(head) + 1
    assert isinstance(protocol.exception(), HttpProcessingError)


@pytest.mark.parametrize("size", [0, 1, STEP, 3 * STEP, 300_000])
@pytest.mark.parametrize("filler", [0, 2 * STEP])
async def test_an_answer_is_read_whole_however_long_its_head_and_its_body(size: int, filler: int) -> None:
    body, fields = b"x" * size, b"X-Filler: %s\r\n" % (b"y" * (filler // 4)) * 4

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n" % (fields, size) + body)
        await writer.drain()

    async with upstream_that(answer) as upstream:
        for _ in range(3):
            response = await upstream.send(TAGS)
            assert await response.read(1_000_000) == body


async def test_as_many_interim_answers_as_are_allowed_harm_no_answer() -> None:
    async def some(writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * (INTERIM_LIMIT // 2)
        )
        writer.write(JSON + b"Content-Length: %d\r\n\r\n" % len(IMAGE) + IMAGE)
        await writer.drain()

    async with upstream_that(some) as upstream:
        for _ in range(3):  # each request counts for itself, on one connection
            assert (await upstream.fetch_manifest(MANIFEST)).body == IMAGE


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", id="a field that drips"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X-Slow: x\r\n", id="fields that drip"),
        pytest.param(b"", b"HTTP/1.1 103 Early Hints\r\nX: ", id="interim answers that drip"),
    ],
)
async def test_a_head_that_drips_has_an_end_in_time(begin: bytes, again: bytes) -> None:
    async with upstream_that(lambda writer: drip(writer, begin, again, 0.1)) as upstream:
        fault, seconds = await fault_and_seconds(upstream.fetch_manifest(MANIFEST))
    assert isinstance(fault, faults.UpstreamTimeout | faults.UpstreamProtocol)
    assert seconds < QUICK.connect + QUICK.first_byte + 0.3


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        pytest.param(b"Content-Length: 4000\r\n\r\n", b" ", id="a body"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n1;", b"x", id="an extension of a chunk"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", id="chunks"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"X: y\r\n", id="trailers"),
    ],
)
@pytest.mark.parametrize("request_", [MANIFEST, TAGS], ids=["manifest", "list"])
async def test_a_small_body_that_drips_has_an_end_in_time(
    begin: bytes, again: bytes, request_: UpstreamRequest
) -> None:
    async def read(upstream: Upstream) -> None:
        response = await upstream.send(request_)
        try:
            await response.read(1000_000)
        finally:
            response.release()

    async with upstream_that(lambda writer: drip(writer, JSON + begin, again)) as upstream:
        fault, seconds = await fault_and_seconds(read(upstream))
    assert isinstance(fault, faults.UpstreamTimeout | faults.UpstreamProtocol)
    assert seconds < QUICK.idle + 0.3


async def test_a_length_that_is_announced_counts_nothing() -> None:
    budget = Shares("bodies", 3000)

    async def claim(writer: asyncio.StreamWriter) -> None:
        await drip(writer, JSON + b"Content-Length: 4000000\r\n\r\n", b" ")

    async with upstream_that(claim, budget) as upstream:
        asked = [asyncio.create_task(upstream.fetch_manifest(MANIFEST)) for _ in range(26)]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in asked)
        assert 26 <= budget.used < 1000
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(fault) for fault in found} == {faults.UpstreamTimeout}
    assert budget.used == 0
