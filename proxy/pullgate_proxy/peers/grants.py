"""Grants shared by all replicas: a replica without a grant asks the others before it searches the upstream.

A balancer sends the HEAD of a tag to one replica and the GET of its digest to another. A grant is named by its hash
over Registry, host, repository, tag rule and digest, so an answer about one is never an answer about another.
Both sides prove that they hold the proxy's signing key: the question by its ticket, the answer by another, which
covers the question and the seconds left. An address that answers for a replica without being one proves nothing.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

from pullgate.faults import CredentialsMissing
from pullgate_proxy.lineage.grants import LIFETIME, Grants
from pullgate_proxy.peers.membership import Address, Membership
from pullgate_proxy.peers.ticket import INSTANCE
from pullgate_proxy.state.tokens import SigningKeys

ANSWER_SECONDS: Final = 1.0
"""For all replicas together. A grant is a look-up in memory; one that takes longer is not waited for."""
ASK_SECONDS: Final = 0.8
"""For one replica, which is then asked nothing for a while."""
CONNECTIONS: Final = 64
AT_ONCE: Final = 256
"""Questions to the others under way; beyond it the upstream is searched."""
BODY_LIMIT: Final = 1024
_PATH = re.compile(r"/grants/([0-9a-f]{32})\Z")
_ANSWER = re.compile(r"([0-9]{1,5}) ([A-Za-z0-9._-]{1,900})\Z")


class GrantPeers:
    """Both ends of the question."""

    def __init__(
        self,
        grants: Grants,
        names: Sequence[Address],
        instance: str,
        keys: Callable[[], SigningKeys],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`names` are the admin ports of all replicas; `grants` is what this one proved, `clock` what it goes by."""
        self.membership = Membership(names, clock)
        self._grants, self._instance, self._keys, self._clock = grants, instance, keys, clock
        self._session: aiohttp.ClientSession | None = None
        self._asking = 0

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def find(self, entry: bytes) -> float:
        """Seconds for which the grant `entry` holds here, or at the first replica that knows it; 0 without one."""
        own = self._grants.left(entry, self._clock())
        others = self.membership.others()
        if own > 0 or not others or self._asking >= AT_ONCE or not self._keys().keys:
            return own
        self._asking += 1
        tasks = [asyncio.create_task(self._ask(address, entry)) for address in others]
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                for answer in asyncio.as_completed(tasks):
                    if (seconds := await answer) > 0:
                        self._grants.take([entry], seconds, self._clock())
                        return seconds
        except TimeoutError:
            pass
        finally:
            self._asking -= 1
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return 0.0

    async def answer(self, request: web.Request) -> web.Response:
        """The handler of /grants/ENTRY at the admin port. It answers from memory and asks no other replica."""
        if request.headers.get(INSTANCE) == self._instance:
            return web.Response(status=421)
        path, now = request.raw_path, time.time()
        ticket = request.headers.get("Authorization", "").removeprefix("Bearer ")
        match = _PATH.match(path)
        if match is None or not self._keys().verifies_ticket(ticket, path, now):
            return web.Response(status=403)
        seconds = int(self._grants.left(bytes.fromhex(match[1]), self._clock()))
        if seconds < 1:
            return web.Response(status=404)
        return web.Response(text=f"{seconds} {self._keys().issue_ticket(_subject(path, seconds), now)}")

    async def _ask(self, address: Address, entry: bytes) -> float:
        path = f"/grants/{entry.hex()}"
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        url = URL(f"http://{host}:{address[1]}{path}", encoded=True)
        try:
            ticket = self._keys().issue_ticket(path, time.time())
            headers = {"Authorization": f"Bearer {ticket}", INSTANCE: self._instance}
            async with self._opened().get(url, headers=headers, allow_redirects=False) as answer:
                if answer.status == 421:  # Misdirected Request: this replica itself
                    self.membership.note_own(address)
                return self._read(path, await answer.content.read(BODY_LIMIT)) if answer.status == 200 else 0.0
        except (aiohttp.ClientError, OSError, TimeoutError):
            self.membership.note_down(address)
            return 0.0
        except CredentialsMissing:
            return 0.0

    def _read(self, path: str, body: bytes) -> float:
        match = _ANSWER.match(body.decode("latin-1"))
        seconds = int(match[1]) if match is not None else 0
        if match is None or not 0 < seconds <= LIFETIME:
            return 0.0
        return float(seconds) if self._keys().verifies_ticket(match[2], _subject(path, seconds), time.time()) else 0.0

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=ASK_SECONDS),
                trust_env=False,
            )
        return self._session


def _subject(path: str, seconds: int) -> str:
    """The subject of an answer's ticket. No question's ticket has such a subject: no path has a space."""
    return f"granted {path} {seconds}"
