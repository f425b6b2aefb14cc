"""The clients of a hostile app. Each attack goes on until it is cancelled, and counts its answers by name.

They come from an address of their own, as clients do, and are bounded in how often they ask: a processor that two
programs share says nothing about a proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from tests.support.gate import ACCEPT, basic
from tests.support.hostile.app import EVE, PRIVATE_HOSTS, RULED, SLOW_LICENSES
from tests.support.hostile.upstream import BOMBS, FOREIGN, PRIVATE, SLOW

SLOW_GETS = 700
"""At once, of two Licenses: those of two apps are more than the 1,228 requests of a proxy with a GiB of memory."""
SILENT = 2_100
"""Connections: those of two apps are more than the 4,096 of such a proxy."""
BEGIN_SECONDS = 6.0
"""Time in which these begin: once the app has its share, its other requests are refused."""
DRIPS = 26
FRESH = {"Cache-Control": "no-cache"}
WRONG_KEY = "pgk_" + "A" * 43
SECONDS = 45.0
"""How long an answer may take that is meant to come: a request waits 20 s for a seat before it is refused."""


@dataclass(slots=True)
class Target:
    """The target of an attack, and the attacker."""

    port: int
    """The proxy's port on 127.0.0.1."""
    namespace: str
    """The hostile app."""
    source: str
    """The clients' address."""
    keys: dict[str, str] = field(repr=False)
    """By License."""
    good: str
    """The namespace of the good app."""
    domain: str
    """Its custom domain."""
    external: str
    """The proxy's own host."""
    blobs: list[str]
    """Digests of the good app."""
    manifest: str
    """Path of the good app's manifest below a host of its own."""
    upstream: str
    """The good app's upstream, host:port."""


class Clients:
    """The attacks of one app; `run` plays those that are named."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.answers: dict[str, Counter[str]] = {}
        """Attack -> what came of it ("429 ShareReached") -> how often."""
        self.foreign = 0
        """Bytes of blobs that the hostile upstream did not send."""
        self._numbers = itertools.count(100)

    async def run(self, attacks: list[str]) -> None:
        """All of `attacks` at once, until cancelled."""
        connector = aiohttp.TCPConnector(limit=0, local_addr=(self._target.source, 0))
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as self._session:
            await asyncio.gather(*(one for name in attacks for one in ATTACKS[name](self)))

    # --- shares

    def slow_gets(self) -> Iterator[Awaitable[None]]:
        """Hundreds of GETs of blobs that never come, and clients that read no byte of a large manifest."""
        for number in range(SLOW_GETS):
            path = f"/v2/proxy/{self._target.namespace}/slow/slow/api/blobs/{SLOW[number % len(SLOW)]}"
            asking = self._again("slow GETs", SLOW_LICENSES[number % 2], path, pause=2.0, seconds=60.0)
            yield _after(BEGIN_SECONDS * number / SLOW_GETS, asking)
        yield from (self._take_nothing() for _ in range(10))

    def manifests(self) -> Iterator[Awaitable[None]]:
        """Manifests that drip and claim 4 MiB, and some that have 4 MiB."""
        for number in range(DRIPS):
            path = self._path(f"drip/api/manifests/{number}")
            yield self._again("dripping manifests", EVE, path, pause=0.5, seconds=60.0)
        for _ in range(2):
            yield self._again("large manifests", EVE, self._path("large/api/manifests/{N}"), pause=1.0)

    def odd_answers(self) -> Iterator[Awaitable[None]]:
        """Interim answers and heads without an end; answers that are no manifest."""
        for kind in ("interim", "head", "html", "empty"):
            for _ in range(2):
                path = self._path(f"odd/{kind}/manifests/{{N}}")
                yield self._again(f"odd answers: {kind}", EVE, path, pause=0.5, seconds=60.0)

    def connections(self) -> Iterator[Awaitable[None]]:
        """Connections that say nothing, heads and forms that drip, wrong keys."""
        for number in range(SILENT):
            yield _after(BEGIN_SECONDS * number / SILENT, self._stay_silent(b""))
        yield from (self._stay_silent(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ") for _ in range(50))
        form = b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\ngrant_type="
        yield from (self._stay_silent(form) for _ in range(50))
        yield from (self._again("wrong keys", "", self._path("slow/api/manifests/1"), pause=0.2) for _ in range(4))
        yield self._share_an_address()

    # --- event loop

    def lists(self) -> Iterator[Awaitable[None]]:
        """170,000 tags under a version range, again and again; indexes with thousands of children; JSON bombs."""
        for _ in range(2):
            yield self._again("tag lists", RULED, self._path("tags/api/tags/list"), pause=1.0, headers=FRESH)
        yield self._again("children", RULED, self._path("children/api/manifests/1.{N}.0"), pause=1.0)
        for name in BOMBS:
            for end in ("tags/list", "manifests/{N}"):
                path = self._path(f"bomb/{name}/{end}")
                yield self._again("JSON bombs", EVE, path, pause=2.0, headers=FRESH)

    # --- what is another's

    def others(self) -> Iterator[Awaitable[None]]:
        """The good app's blobs, manifests and domain, the proxy's own host, and private networks."""
        for part in range(4):
            yield self._steal(self._target.blobs[part::4])
        for name in PRIVATE:
            for end in ("manifests/{N}", f"blobs/{SLOW[0]}"):
                yield self._again("private redirects", EVE, self._path(f"private/{name}/{end}"), pause=1.0)
        for name in PRIVATE_HOSTS:
            path = f"/v2/proxy/{self._target.namespace}/{name}/a/b/manifests/{{N}}"
            yield self._again("private hosts", EVE, path, pause=1.0)
        target = self._target
        for host, end in ((target.domain, ""), (target.external, f"?ns={target.upstream}"), (target.external, "")):
            for path in (f"/v2/{target.manifest}{end}", f"/v2/proxy/{target.good}/upstream/{target.manifest}"):
                yield self._again("another's image", EVE, path, pause=1.0, headers={"Host": host})

    async def _steal(self, blobs: list[str]) -> None:
        for digest in itertools.cycle(blobs):
            path = self._path(f"steal/api/blobs/{digest}")
            for method in ("HEAD", "GET"):
                body = await self._ask(f"stolen blobs: {method}", EVE, path, method=method, seconds=1.0)
                self.foreign += len(body.replace(FOREIGN, b""))

    # --- requests

    def _path(self, end: str) -> str:
        return f"/v2/proxy/{self._target.namespace}/up/{end}"

    async def _again(self, attack: str, license_: str, path: str, *, pause: float, **options: Any) -> None:
        """Ask for `path`, in which {N} becomes a new number each time, and pause for so many seconds."""
        while True:
            await self._ask(attack, license_, path.replace("{N}", str(next(self._numbers))), **options)
            await asyncio.sleep(pause)

    async def _ask(
        self,
        attack: str,
        license_: str,
        path: str,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        seconds: float = SECONDS,
    ) -> bytes:
        """The body of a 200 or 206, as far as it came; the answer is counted."""
        key = self._target.keys[license_] if license_ else WRONG_KEY
        sent = {"Accept": ACCEPT, "Authorization": basic("x", key), **(headers or {})}
        url = URL(f"http://127.0.0.1:{self._target.port}{path}", encoded=True)
        received, result = bytearray(), "none"
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.request(method, url, headers=sent, allow_redirects=False) as answer,
            ):
                result = f"{answer.status} {answer.headers.get('X-Pullgate-Reason', '')}".strip()
                async for chunk in answer.content.iter_any():
                    received += chunk if answer.status in {200, 206} else b""
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            result += f", {type(error).__name__}"
        self.answers.setdefault(attack, Counter())[result] += 1
        return bytes(received)

    async def _take_nothing(self) -> None:
        """Ask for large manifests, and read none of them."""
        head = f"Host: x\r\nAuthorization: {basic('x', self._target.keys[EVE])}\r\n\r\n"
        while True:
            path = self._path(f"large/api/manifests/{next(self._numbers)}")
            await self._open(f"GET {path} HTTP/1.1\r\n{head}".encode(), 20.0)

    async def _stay_silent(self, begin: bytes) -> None:
        """Connect, send `begin`, then a byte now and then, until the proxy closes; and again."""
        while True:
            await self._open(begin, 0.0)
            await asyncio.sleep(2.0)

    async def _open(self, begin: bytes, seconds: float) -> None:
        """A connection that sends `begin`; it reads nothing for `seconds`, or drips until it is closed."""
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self._target.port, limit=1024, local_addr=(self._target.source, 0)
            )
            try:
                writer.write(begin)
                if seconds:
                    await asyncio.sleep(seconds)
                    return
                closed = asyncio.create_task(reader.read())
                while not (await asyncio.wait({closed}, timeout=5.0))[0] and begin:
                    writer.write(b"x")
                await closed
            finally:
                writer.transport.abort()

    async def _share_an_address(self) -> None:
        """Wrong keys from the address of the good app's client."""
        async with aiohttp.ClientSession() as session:
            while True:
                headers = {"Authorization": basic("x", WRONG_KEY)}
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    async with session.get(f"http://127.0.0.1:{self._target.port}/v2/", headers=headers) as answer:
                        await answer.read()
                await asyncio.sleep(0.1)


async def _after(seconds: float, attack: Awaitable[None]) -> None:
    await asyncio.sleep(seconds)
    await attack


ATTACKS: dict[str, Callable[[Clients], Iterator[Awaitable[None]]]] = {
    "slow GETs": Clients.slow_gets,
    "manifests": Clients.manifests,
    "odd answers": Clients.odd_answers,
    "connections and wrong keys": Clients.connections,
    "lists and JSON": Clients.lists,
    "what is another's": Clients.others,
}
