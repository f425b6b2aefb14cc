"""Asks every proxy what it counted. A proxy that does not answer costs its own figures, nothing else."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import aiohttp

BODY_LIMIT: Final = 32 * 1024 * 1024
PAGES: Final = 250
"""Pages of one proxy in a row: all Licenses that it counts."""
SECONDS: Final = 10.0
PROXIES: Final = 256
"""Addresses that are asked, at most."""


class InvalidUsage(ValueError):
    """A proxy's answer is not a usage document."""


Address = tuple[str, int]
Take = Callable[[bytes], Awaitable[tuple[str, int, bool]]]
"""Takes in an answer. Returns the proxy's instance, its last number, and True if more follows. Raises InvalidUsage."""

log = logging.getLogger(__name__)


class UsagePoller:
    """Polls the admin ports of all proxies behind `names`, each a host that may have many addresses."""

    def __init__(self, names: Sequence[Address], take: Take, seconds: float) -> None:
        self._names, self._take, self._seconds = names, take, seconds
        self._seen: dict[Address, tuple[str, int]] = {}
        """Address -> the proxy instance that answered there last, and its last number."""
        self._failed: dict[Address, str] = {}

    async def run(self) -> None:
        """Poll until cancelled."""
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            while True:
                addresses = await self._resolve()
                await asyncio.gather(*(self._poll(session, address) for address in addresses))
                self._seen = {address: seen for address, seen in self._seen.items() if address in addresses}
                await asyncio.sleep(self._seconds)

    async def _resolve(self) -> set[Address]:
        found: set[Address] = set()
        loop = asyncio.get_running_loop()
        for name, port in self._names:
            try:
                rows = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
            except OSError as error:
                self._tell((name, port), f"its name does not resolve: {error.strerror or error}")
                continue
            self._mended((name, port))
            found |= {(row[4][0], port) for row in rows if isinstance(row[4][0], str)}
        return set(sorted(found)[:PROXIES])

    async def _poll(self, session: aiohttp.ClientSession, address: Address) -> None:
        try:
            for _ in range(PAGES):
                if not await self._ask(session, address):
                    break
        except (aiohttp.ClientError, OSError, TimeoutError, InvalidUsage) as error:
            self._tell(address, str(error) or type(error).__name__)
        else:
            self._mended(address)

    async def _ask(self, session: aiohttp.ClientSession, address: Address) -> bool:
        """Poll one page. True if more follows."""
        instance, after = self._seen.get(address, ("", 0))
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        url = f"http://{host}:{address[1]}/usage?instance={instance}&after={after}"
        async with session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise InvalidUsage(f"status {response.status}")
            body = await response.content.read(BODY_LIMIT + 1)
            while not response.content.at_eof() and len(body) <= BODY_LIMIT:
                body += await response.content.read(BODY_LIMIT + 1 - len(body))
            if len(body) > BODY_LIMIT:
                raise InvalidUsage("the answer is too large")
        found, last, more = await self._take(body)
        self._seen[address] = (found, last)
        return more

    def _tell(self, address: Address, why: str) -> None:
        if self._failed.get(address) != why:
            log.warning("the proxy at %s:%d does not tell what it counted: %s", *address, why)
        self._failed[address] = why

    def _mended(self, address: Address) -> None:
        if self._failed.pop(address, None) is not None:
            log.warning("the proxy at %s:%d tells what it counted again", *address)
