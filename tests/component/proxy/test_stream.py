"""A blob streams: never held, resumed where it breaks, and never brought to a clean end that is not its own."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.gate import APP, Gate, basic, license_, registry, running
from tests.support.images import Image, large_image
from tests.support.upstreams import ScriptedRegistry, faults

SIZE = 24 * 2**20


@dataclass(frozen=True, slots=True)
class World:
    gate: Gate
    upstream: ScriptedRegistry
    image: Image

    @property
    def path(self) -> str:
        return f"/v2/proxy/{APP}/upstream/my-org/large/blobs/{self.digest}"

    @property
    def digest(self) -> str:
        return next(iter(self.image.streams))

    @property
    def size(self) -> int:
        return self.image.streams[self.digest].size

    async def pull(self) -> tuple[int, str]:
        """(bytes, digest) of the body that a client received. Raises aiohttp's error if the connection was aborted."""
        headers = {"Authorization": basic("acme", self.gate.key("acme"))}
        received, count = hashlib.sha256(), 0
        async with self.gate.session.get(self.gate.url + self.path, headers=headers) as response:
            assert response.status == 200
            async for chunk in response.content.iter_any():
                received.update(chunk)
                count += len(chunk)
        return count, f"sha256:{received.hexdigest()}"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with ScriptedRegistry() as upstream:
        image = large_image(SIZE)
        await upstream.push("my-org/large", "1", image)
        documents = [registry("upstream", upstream.host), license_("acme")]
        async with running(tmp_path / "resources", *documents, idle_timeout=1.0, first_byte_timeout=1.0) as gate:
            yield World(gate, upstream, image)


@pytest.mark.parametrize(
    "broken",
    [faults.close_after(5_000_000), faults.reset_after(5_000_000), faults.hang_after(5_000_000)],
    ids=["closed", "reset", "stalled"],
)
async def test_a_body_that_breaks_is_resumed_and_the_client_sees_one_whole_blob(world: World, broken: Any) -> None:
    world.upstream.on("GET", "/blobs/", broken, times=2)
    assert await world.pull() == (world.size, world.digest)
    assert any("Range" in request.headers for request in world.upstream.received("GET", "/blobs/"))


@pytest.mark.parametrize(
    "faulty",
    [
        (faults.close_after(5_000_000), faults.header("Accept-Ranges", None)),
        (faults.corrupt(SIZE // 2),),
        (faults.corrupt(0),),
    ],
    ids=["cannot be resumed", "a byte in the middle is wrong", "the first byte is wrong"],
)
async def test_a_body_that_cannot_be_right_ends_in_an_aborted_connection(world: World, faulty: Any) -> None:
    world.upstream.on("GET", "/blobs/", *faulty)
    if len(faulty) == 2:
        world.upstream.on("GET", "/blobs/", faults.answer(500), skip=1)
        world.upstream.heal()
        world.upstream.on("GET", "/blobs/", faults.close_after(5_000_000), times=1)
        world.upstream.on("GET", "/blobs/", faults.answer(404))
    with pytest.raises(aiohttp.ClientPayloadError):
        await world.pull()
    await world.gate.until(lambda: world.gate.records()[-1].get("aborted") is True)
    assert world.gate.records()[-1]["bytes"] < world.size


async def test_a_blob_that_changed_under_a_resume_is_never_brought_to_an_end(world: World) -> None:
    world.upstream.on("GET", "/blobs/", faults.close_after(5_000_000), times=1)
    world.upstream.on("GET", "/blobs/", faults.changed_on_resume())
    with pytest.raises(aiohttp.ClientPayloadError):
        await world.pull()


async def test_a_slow_client_holds_a_bounded_buffer_and_stops_the_upstream(world: World) -> None:
    reader_socket = socket.socket()
    reader_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
    reader_socket.setblocking(False)
    await asyncio.get_running_loop().sock_connect(reader_socket, ("127.0.0.1", world.gate.proxy.port))
    reader, writer = await asyncio.open_connection(sock=reader_socket, limit=8 * 1024)
    login = basic("acme", world.gate.key("acme"))
    writer.write(f"GET {world.path} HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\n\r\n".encode())
    assert b"200 OK" in await reader.readline()
    await asyncio.sleep(1.5)
    served = world.upstream.requests
    assert served
    writer.close()
    await world.gate.until(lambda: world.gate.records() != [] and world.gate.records()[-1]["reason"] == "ClientGone")
    assert world.gate.records()[-1]["bytes"] < SIZE // 2


async def test_a_client_that_leaves_ends_the_upstreams_body_too(world: World) -> None:
    gate = asyncio.Event()
    world.upstream.on("GET", "/blobs/", faults.hang_after(1_000_000, gate))
    headers = {"Authorization": basic("acme", world.gate.key("acme"))}
    async with aiohttp.ClientSession() as session:
        response = await session.get(world.gate.url + world.path, headers=headers)
        await response.content.readany()
        response.close()
    await world.gate.until(lambda: world.upstream.open_connections <= 1)


async def test_a_drain_lets_a_body_finish_and_takes_nothing_new(world: World) -> None:
    gate = asyncio.Event()
    world.upstream.on("GET", "/blobs/", faults.hang_after(1_000_000, gate), times=1)
    world.gate.proxy.settings  # noqa: B018
    pulling = asyncio.create_task(world.pull())
    await world.gate.until(lambda: bool(world.upstream.received("GET", "/blobs/")))
    stopping = asyncio.create_task(world.gate.proxy.stop())
    await world.gate.until(lambda: not world.gate.proxy.readiness().ready)
    gate.set()
    assert await pulling == (world.size, world.digest)
    await stopping
    with pytest.raises(aiohttp.ClientConnectorError):
        await world.gate.get("/v2/")


@pytest.mark.parametrize("answered", ["before", "meanwhile"])
async def test_a_drain_ends_when_a_slow_client_has_received_what_the_system_still_sends(
    world: World, answered: str
) -> None:
    image, gate = large_image(400_000, "small"), asyncio.Event()
    (digest,) = image.streams
    await world.upstream.push("my-org/large", "2", image)
    world.upstream.on("GET", "/blobs/", faults.hang_after(100_000, gate), times=1)
    loop, path = asyncio.get_running_loop(), world.path.replace(world.digest, digest)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", world.gate.proxy.port))
        login = basic("acme", world.gate.key("acme"))
        await loop.sock_sendall(client, f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\n\r\n".encode())
        await world.gate.until(lambda: bool(world.upstream.received("GET", "/blobs/")))
        if answered == "before":
            gate.set()
            await world.gate.until(lambda: digest in world.gate.log.getvalue())
        stopping = asyncio.create_task(world.gate.proxy.stop())
        await world.gate.until(lambda: not world.gate.proxy.readiness().ready)
        gate.set()
        await world.gate.until(lambda: digest in world.gate.log.getvalue())  # to the proxy its answer is over
        done, _ = await asyncio.wait([stopping], timeout=0.5)
        assert not done
        received = b""
        while chunk := await loop.sock_recv(client, 65536):
            received += chunk
    await stopping
    assert len(received.partition(b"\r\n\r\n")[2]) == image.streams[digest].size
