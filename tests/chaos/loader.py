"""Clients that pull without a pause, resume as containerd does, and check every byte."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import random
import ssl
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from tests.support.clients.daemonless import Crane
from tests.support.images import Image

TRIES: Final = 6
"""Attempts for one request; real clients make five or six."""
IDLE_SECONDS: Final = 3.0
LAST_SECONDS: Final = 0.5
"""Seconds that a real client gets to finish its last pull; after that it is stopped and not counted."""


@dataclass(slots=True)
class Tally:
    """Counts of pulls and requests."""

    tried: int = 0
    """Pulls."""
    passed: int = 0
    failed: int = 0
    retried: int = 0
    """Requests that were sent again."""
    wrong: int = 0
    """Bodies that arrived completely, in one answer with a clean end, but do not match their digest."""
    put_together_wrong: int = 0
    """The same of bodies that the client joined from an aborted answer and a range: only the client can detect it."""
    bytes: int = 0
    crane_tried: int = 0
    """Pulls of a real client at the same time."""
    crane_failed: int = 0
    causes: dict[str, int] = field(default_factory=dict)
    """How requests failed: status and reason, or the error's name."""

    def note(self, cause: str) -> None:
        """One failed request."""
        self.causes[cause] = self.causes.get(cause, 0) + 1


class PullFailed(Exception):
    """A pull ended without the image."""


@dataclass(frozen=True, slots=True)
class Load:
    """How much is pulled."""

    workers: int
    """Clients at once."""
    pause: float
    """Seconds between two images of one of them."""


class Loader:
    """Clients, each pulling one image after the other."""

    def __init__(
        self,
        base: str,
        prefix: str,
        key: str,
        images: dict[tuple[str, str], Image],
        load: Load,
        trust: ssl.SSLContext | bool = True,
    ) -> None:
        """`prefix` is what stands before a repository: proxy/my-app/upstream; `trust` is for a proxy with TLS."""
        self.base, self._prefix, self._images, self._load, self._trust = base, prefix, images, load, trust
        self._key = key
        self._auth = aiohttp.encode_basic_auth("chaos", key)
        self.tally = Tally()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Pull while the context is open, with a new tally."""
        self.tally = Tally()
        stopped = asyncio.Event()
        tasks = [asyncio.create_task(self._work(n, stopped)) for n in range(self._load.workers)]
        crane = asyncio.create_task(self._crane(stopped))
        try:
            yield
        finally:
            stopped.set()
            await asyncio.gather(*tasks)
            await asyncio.wait({crane}, timeout=LAST_SECONDS)
            crane.cancel()
            await asyncio.gather(crane, return_exceptions=True)

    async def pull_each(self) -> Tally:
        """Every image once, by one client after the other."""
        self.tally = Tally()
        async with self._session() as session:
            for repository, tag in self._images:
                await self._try(session, repository, tag)
        return self.tally

    async def _work(self, number: int, stopped: asyncio.Event) -> None:
        order = itertools.cycle(random.Random(number).sample(list(self._images), len(self._images)))
        while not stopped.is_set():
            async with self._session() as session:  # a client begins with new connections
                for repository, tag in itertools.islice(order, 4):
                    if stopped.is_set():
                        break
                    await self._try(session, repository, tag)
                    await asyncio.sleep(self._load.pause)

    async def _crane(self, stopped: asyncio.Event) -> None:
        """Run `crane pull` again and again, and count incomplete pulls as failed."""
        (repository, tag), image = list(self._images.items())[1]
        reference = f"{self.base.partition('://')[2]}/{self._prefix}/{repository}:{tag}"
        while not stopped.is_set():
            with tempfile.TemporaryDirectory() as directory:
                pulled = await Crane().pull(reference, "chaos", self._key, Path(directory))
            whole = pulled.exit_code == 0 and set(image.blobs) <= set(pulled.contents)
            self.tally.crane_tried += 1
            self.tally.crane_failed += not whole
            await asyncio.sleep(0.2)

    def _session(self) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=IDLE_SECONDS, sock_read=IDLE_SECONDS)
        headers = {"Authorization": self._auth, "Accept-Encoding": "identity"}
        connector = aiohttp.TCPConnector(ssl=self._trust)
        return aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector, auto_decompress=False)

    async def _try(self, session: aiohttp.ClientSession, repository: str, tag: str) -> None:
        self.tally.tried += 1
        image = self._images[repository, tag]
        path = f"{self.base}/v2/{self._prefix}/{repository}"
        try:
            await self._fetch(session, f"{path}/manifests/{tag}", image.digest, {"Accept": image.media_type})
            for digest in image.blobs:
                await self._fetch(session, f"{path}/blobs/{digest}", digest, {})
            self.tally.passed += 1
        except PullFailed:
            self.tally.failed += 1

    async def _fetch(self, session: aiohttp.ClientSession, url: str, digest: str, headers: dict[str, str]) -> None:
        have, resumed = bytearray(), False
        for attempt in range(TRIES):
            if attempt:
                self.tally.retried += 1
                await asyncio.sleep(0.05 * 2**attempt)
            resumed = bool(have)
            if await self._ask(session, url, headers, have):
                if "sha256:" + hashlib.sha256(have).hexdigest() == digest:
                    self.tally.bytes += len(have)
                    return
                self.tally.wrong += not resumed
                self.tally.put_together_wrong += resumed
                have.clear()
        raise PullFailed

    async def _ask(self, session: aiohttp.ClientSession, url: str, headers: dict[str, str], have: bytearray) -> bool:
        """True if the body completes. `have` collects its bytes, and the next request asks only for the rest."""
        wanted = {**headers, "Range": f"bytes={len(have)}-"} if have else headers
        try:
            async with session.get(url, headers=wanted) as response:
                if response.status == 200:
                    have.clear()
                elif response.status != 206:
                    self.tally.note(f"{response.status} {response.headers.get('X-Pullgate-Reason', '')}".strip())
                    await response.read()
                    return False
                async for data in response.content.iter_any():
                    have += data
                return True
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.tally.note(type(error).__name__)
            return False
