"""The ways in which the world fails a proxy that keeps no blob, and how each is undone."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

from tests.chaos.links import Toxic
from tests.chaos.loader import Loader
from tests.chaos.scenarios import on_link, scenario, up, while_loaded
from tests.chaos.stage import Stage


def _raw(status: str, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()


UPSTREAM: list[tuple[str, Toxic]] = [
    ("nobody listens", Toxic(refuse=True)),
    ("connections end after 200 kB", Toxic(end_after=200_000)),
    ("connections are reset after 200 kB", Toxic(end_after=200_000, reset=True)),
    ("one bit is wrong in every 100 kB", Toxic(flip_every=100_000)),
    ("2 MB a second for each connection", Toxic(bytes_per_second=2_000_000)),
    ("hangs after 100 kB", Toxic(hang_after=100_000)),
    ("answers 500", Toxic(answer=_raw("500 Internal Server Error"))),
    ("answers 503", Toxic(answer=_raw("503 Service Unavailable"))),
    ("answers 429 for a second", Toxic(answer=_raw("429 Too Many Requests", "Retry-After: 1\r\n"))),
    ("answers what is no HTTP", Toxic(answer=b"\x15\x03\x01\x00\x02\x02\x16")),
]
CLIENT: list[tuple[str, Toxic]] = [
    ("connections end after 200 kB", Toxic(end_after=200_000)),
    ("connections are reset after 200 kB", Toxic(end_after=200_000, reset=True)),
    ("one bit is wrong in every 100 kB", Toxic(flip_every=100_000)),
    ("2 MB a second for each connection", Toxic(bytes_per_second=2_000_000)),
]
for words, toxic in UPSTREAM:
    scenario("upstream", words)(on_link(lambda stage: stage.upstream, toxic))
for words, toxic in CLIENT:
    scenario("client", words, behind=True)(on_link(lambda stage: stage.client, toxic))


@scenario("upstream", "its name is gone from DNS")
@contextlib.asynccontextmanager
async def _dns(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
    loader, whole = stage.loader("named"), stage.hosts.read_text()

    async def work() -> None:
        stage.hosts.write_text("127.0.0.1 localhost\n")  # in place: it is mounted
        # An address is remembered for 30 s: a short absence is not even noticed.
        end = time.monotonic() + (seconds / 2 if seconds < 10 else 40)
        while time.monotonic() < end:
            stage.upstream.drop()
            await asyncio.sleep(0.5)
        stage.hosts.write_text(whole)

    await while_loaded(loader, seconds, work)
    yield loader


@scenario("upstream", "its certificate has expired")
@contextlib.asynccontextmanager
async def _expired(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
    loader = stage.loader("secure")
    stage.certificate.mkdir(exist_ok=True)

    def show(*, expired: bool) -> None:
        stage.tls_context.load_cert_chain(*stage.authority.write_pair(stage.certificate, expired=expired))
        stage.secure.drop()

    async def work() -> None:
        show(expired=True)
        await asyncio.sleep(seconds / 2)
        show(expired=False)

    await while_loaded(loader, seconds, work)
    yield loader


@scenario("proxy", "killed by SIGKILL and started again")
@contextlib.asynccontextmanager
async def _killed(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
    loader = stage.loader()

    async def work() -> None:
        await stage.proxy.end(signal.SIGKILL)
        await asyncio.sleep(seconds / 4)
        await stage.proxy.start()

    await while_loaded(loader, seconds, work)
    yield loader


@scenario("proxy", "stopped for a while by SIGSTOP")
@contextlib.asynccontextmanager
async def _stopped(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
    loader = stage.loader()

    async def work() -> None:
        stage.proxy.send(signal.SIGSTOP)
        await asyncio.sleep(seconds / 2)
        stage.proxy.send(signal.SIGCONT)

    await while_loaded(loader, seconds, work)
    yield loader


@scenario("proxy", "two replicas behind nginx, restarted one after the other")
@contextlib.asynccontextmanager
async def _rolling(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
    async with stage.replicas() as (base, processes):
        loader = stage.loader(base=base)

        async def work() -> None:
            for process in processes:
                await process.end()
                await process.start()
                await asyncio.sleep(1.5)  # nginx asks one that failed again after a second

        await while_loaded(loader, seconds, work)
        tally = loader.tally
        await loader.pull_each()
        loader.tally = tally
        loader.base = f"http://{stage.client.host}"
        yield loader


@scenario("proxy", "512 clients that say nothing want its 256 descriptors", harmless=True)
@contextlib.asynccontextmanager
async def _descriptors(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
    loader = stage.loader()

    async def say_nothing() -> None:
        while True:  # where it is ended, it comes again
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    await reader.read()
                finally:
                    writer.transport.abort()
            await asyncio.sleep(0.5)

    async def work() -> None:
        silent = [asyncio.create_task(say_nothing()) for _ in range(512)]
        await asyncio.sleep(seconds / 2)
        for each in silent:
            each.cancel()
        await asyncio.gather(*silent, return_exceptions=True)

    async with up(stage.with_few_descriptors(256)) as process:
        port, loader.base = process.port, process.base
        await while_loaded(loader, seconds, work)
        yield loader


@scenario("proxy", "its clock is set a day ahead, and back")
@contextlib.asynccontextmanager
async def _clock(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
    loader = stage.loader()
    file = stage.directory / "clock"

    async def work() -> None:
        for offset in ("+1d", "-1d", "+0d"):
            await asyncio.to_thread(_replace, file, offset)
            await asyncio.sleep(seconds / 6)

    await asyncio.to_thread(_replace, file, "+0d")
    async with up(stage.with_clock(file)) as process:
        loader.base = process.base
        await while_loaded(loader, seconds, work)
        yield loader


def _replace(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text + "\n")
    new.replace(file)
