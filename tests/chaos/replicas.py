"""Faults between the processes of one Pullgate, and around it: peers, the object store, certificates."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
import time
from collections.abc import AsyncIterator

import aiohttp

from pullgate_proxy.peers.membership import owner_of
from tests.chaos.links import Link, Toxic
from tests.chaos.loader import Loader
from tests.chaos.scenarios import scenario, until, up, while_loaded
from tests.chaos.stage import Process, Stage
from tests.support.fakes.clouds.aws import moto
from tests.support.images import Image
from tests.support.ports import free_port
from tests.support.tls import Authority

FETCHED = "pullgate_blob_fetched_bytes_total"
STORE_USABLE = "pullgate_object_store_usable"
STORE_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIACANARYCHAOS",
    "AWS_SECRET_ACCESS_KEY": "CANARY-CHAOS-STORE",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


# --- peers ---


def _addresses(*ports: int) -> list[tuple[str, int]]:
    return [("127.0.0.1", port) for port in ports]


def _is_shared(held: Image, *ports: int) -> bool:
    """True if the image's blobs over 3000 bytes belong to more than one replica."""
    return len({owner_of(digest, _addresses(*ports)) for digest, body in held.blobs.items() if len(body) > 3000}) > 1


@contextlib.asynccontextmanager
async def _peers(stage: Stage) -> AsyncIterator[tuple[Process, Process, Link]]:
    """Two replicas that ask each other, and the link from the first to the second."""
    ports = [free_port(), free_port()]
    async with Link(f"127.0.0.1:{ports[1]}") as link:
        while not all(_is_shared(made, ports[0], link.port) for made in stage.images.values()):
            ports[0] = free_port()
        seen = (f"127.0.0.1:{ports[0]}", link.host), (f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}")
        made = [
            stage.caching(
                f"peer-{number}",
                *("--peer-listen", f"127.0.0.1:{ports[number]}", "--peer", seen[number][0], "--peer", seen[number][1]),
                module=("tests.chaos.replica",),
            )
            for number in range(2)
        ]
        async with up(*made):
            yield made[0], made[1], link


def _clear(process: Process) -> None:
    """Remove its cached blobs: it asks its peer only for blobs that it lacks."""
    for file in process.blobs():
        file.unlink(missing_ok=True)


@scenario("peers", "one bit is wrong in every 100 kB that the other replica sends")
@contextlib.asynccontextmanager
async def _peer_lies(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
    asked, _, link = await stage.lasting("peers", lambda: _peers(stage))
    loader = stage.loader(base=asked.base)

    async def was_met() -> bool:
        _clear(asked)
        return loader.tally.causes.get("ClientPayloadError", 0) > 0

    async with contextlib.AsyncExitStack() as lying:
        # The link corrupts from the first byte: blobs that are already cached are requested from no peer.
        await lying.enter_async_context(link.poisoned(Toxic(flip_every=100_000)))

        async def work() -> None:
            await until(was_met, "no wrong byte is met")
            await asyncio.sleep(seconds / 2)
            await lying.aclose()

        await while_loaded(loader, seconds, work)
    yield loader


@scenario("peers", "the other replica is killed by SIGKILL and started again", harmless=True)
@contextlib.asynccontextmanager
async def _peer_killed(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
    asked, other, _ = await stage.lasting("peers", lambda: _peers(stage))
    loader = stage.loader(base=asked.base)
    before = await asked.counted(FETCHED, source="peer")

    async def peer_is_asked() -> bool:
        _clear(asked)
        return await asked.counted(FETCHED, source="peer") > before

    async def work() -> None:
        await until(peer_is_asked, "nothing comes from the peer")
        end = time.monotonic() + seconds / 4
        await other.end(signal.SIGKILL)
        while time.monotonic() < end:
            _clear(asked)
            await asyncio.sleep(0.05)
        await other.start()

    await while_loaded(loader, seconds, work)
    yield loader


# --- the object store ---


@scenario("object store", "away", harmless=True)
@contextlib.asynccontextmanager
async def _store_away(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
    port = free_port()
    with contextlib.ExitStack() as running:
        url = running.enter_context(moto(port))
        async with aiohttp.ClientSession() as session:
            (await session.put(f"{url}/chaos")).close()
        options = ("--object-store", "s3://chaos/pullgate", "--object-store-endpoint", url)
        async with up(stage.caching("store", *options, env=STORE_ENVIRONMENT)) as process:
            loader = stage.loader(base=process.base)

            async def was_asked() -> bool:
                return await process.counted(FETCHED, source="store") > 0

            async def is_left_alone() -> bool:
                return await process.counted(STORE_USABLE) == 0

            async def work() -> None:
                await until(was_asked, "nothing came from the store")
                await asyncio.to_thread(running.close)
                await until(is_left_alone, "the store was not missed")
                await asyncio.sleep(seconds / 2)
                running.enter_context(moto(port))

            await while_loaded(loader, seconds, work)
            yield loader


# --- certificates ---


@contextlib.asynccontextmanager
async def _with_tls(stage: Stage) -> AsyncIterator[Process]:
    directory = stage.directory / "proxy-tls"
    directory.mkdir()
    certificate, key = stage.authority.write_pair(directory)
    async with up(stage.plain("tls", "--tls-cert", str(certificate), "--tls-key", str(key))) as process:
        yield process


def _trusting(stage: Stage, process: Process, name: str = "upstream") -> Loader:
    return stage.loader(name, base=process.base, trust=ssl.create_default_context(cadata=stage.authority.pem))


@scenario("proxy", "its certificate is rotated", harmless=True)
@contextlib.asynccontextmanager
async def _rotated(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
    process = await stage.lasting("tls", lambda: _with_tls(stage))
    loader = _trusting(stage, process)

    async def work() -> None:
        certificate, _ = await asyncio.to_thread(stage.authority.write_pair, stage.directory / "proxy-tls")
        written = certificate.read_text()

        async def is_shown() -> bool:
            shown = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", process.port))
            return shown.strip() == written.strip()

        await until(is_shown, "the new certificate is not shown")
        await asyncio.sleep(seconds / 2)

    await while_loaded(loader, seconds, work)
    yield loader


@scenario("upstream", "its authority is rotated: its certificate first, the Secret `ca` a while after")
@contextlib.asynccontextmanager
async def _authority_rotated(stage: Stage, seconds: float) -> AsyncIterator[Loader]:
    process = await stage.lasting("tls", lambda: _with_tls(stage))
    loader = _trusting(stage, process, "secure")
    new = Authority("The new authority")

    async def is_refused() -> bool:
        return any("UpstreamTLS" in cause for cause in loader.tally.causes)

    def show(authority: Authority) -> None:
        stage.certificate.mkdir(exist_ok=True)
        stage.tls_context.load_cert_chain(*authority.write_pair(stage.certificate))
        stage.secure.drop()

    async def work() -> None:
        show(new)
        await until(is_refused, "a certificate of an unknown authority is taken")
        await asyncio.sleep(seconds / 4)
        stage.write_resources(process.folder, blobs=False, authority=new)
        await asyncio.sleep(seconds / 4)

    try:
        await while_loaded(loader, seconds, work)
        yield loader
    finally:
        show(stage.authority)
