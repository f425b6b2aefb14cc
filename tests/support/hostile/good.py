"""The good app's client: whole pulls as containerd makes them, several at a time, each byte checked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import aiohttp
from yarl import URL

from tests.support.content import digest_of
from tests.support.gate import ACCEPT, basic
from tests.support.images import Image

TIMEOUT = 20.0
"""Seconds for each request."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to name the image: what stands before the repository, the host that is asked, and the query."""

    prefix: str
    host: str
    query: str = ""


@dataclass(frozen=True, slots=True)
class Pull:
    """One pull."""

    way: Way
    seconds: float
    failure: str = ""
    """Status and reason, or the exception; empty if all bytes were right."""


class Refused(Exception):
    """An answer that is no 200, or bytes that are wrong."""


@dataclass(slots=True)
class GoodClient:
    """Pulls again and again while the context is open. Use in_background(GoodClient(…))."""

    port: int
    """The proxy's port."""
    key: str = field(repr=False)
    ways: Sequence[Way]
    images: dict[str, Image]
    """By tag; each is pulled in turn."""
    repository: str
    at_once: int = 4
    pause: float = 0.05
    """Seconds of each client between two pulls."""
    pulls: list[Pull] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._run(number)) for number in range(self.at_once)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def failures(self) -> list[str]:
        """Those of all pulls so far."""
        return [f"{pull.way}: {pull.failure}" for pull in self.pulls if pull.failure]

    async def _run(self, number: int) -> None:
        tags = list(self.images)
        while True:
            way = self.ways[number % len(self.ways)]
            tag = tags[number // len(self.ways) % len(tags)]
            began = time.perf_counter()
            failure = await self._pull(way, tag)
            self.pulls.append(Pull(way, time.perf_counter() - began, failure))
            number += self.at_once
            await asyncio.sleep(self.pause)

    async def _pull(self, way: Way, tag: str) -> str:
        image = self.images[tag]
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as session:
                asked = _Asked(session, self.port, way, self.repository)
                await asked.log_in(self.key)
                if (found := (await asked.ask("HEAD", f"manifests/{tag}"))[0]) != image.digest:
                    raise Refused(f"tag {tag} has the digest {found}")
                await asked.get(f"manifests/{image.digest}", image.digest)
                blobs = (image.config, *image.layers)
                await asyncio.gather(*(asked.get(f"blobs/{digest}", digest) for digest in blobs))
        except (Refused, aiohttp.ClientError, TimeoutError, OSError) as error:
            return f"{type(error).__name__}: {error}"
        return ""


@dataclass(slots=True)
class _Asked:
    """The requests of one pull."""

    session: aiohttp.ClientSession
    port: int
    way: Way
    repository: str
    token: str = ""

    async def log_in(self, key: str) -> None:
        scope = f"repository:{self.way.prefix}{self.repository}:pull"
        url = URL(f"http://127.0.0.1:{self.port}/token").with_query(service=self.way.host, scope=scope)
        headers = {"Host": self.way.host, "Authorization": basic("x", key)}
        async with self.session.get(url, headers=headers) as answer:
            self.token = json.loads(_checked(answer.status, await answer.read(), "token"))["token"]

    async def ask(self, method: str, end: str) -> tuple[str, bytes]:
        """Docker-Content-Digest and body."""
        path = f"/v2/{self.way.prefix}{self.repository}/{end}{self.way.query}"
        url = URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        headers = {"Host": self.way.host, "Accept": ACCEPT, "Authorization": f"Bearer {self.token}"}
        async with self.session.request(method, url, headers=headers, allow_redirects=False) as answer:
            body = _checked(answer.status, await answer.read(), f"{method} {end}")
            return answer.headers.get("Docker-Content-Digest", ""), body

    async def get(self, end: str, digest: str) -> None:
        if digest_of((await self.ask("GET", end))[1]) != digest:
            raise Refused(f"{end}: wrong bytes")


def _checked(status: int, body: bytes, what: str) -> bytes:
    if status != 200:
        raise Refused(f"{what}: {status} {body[:200].decode(errors='replace')}")
    return body
