"""Ask the replica that a blob belongs to. It costs little time where it does not answer: the upstream is asked then."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import aiohttp
from yarl import URL

from pullgate.upstream.request import UpstreamResponse
from pullgate_proxy.cache.blobs.ask import Ask
from pullgate_proxy.peers.membership import Address, Membership
from pullgate_proxy.peers.ticket import INSTANCE, path_of
from pullgate_proxy.state.tokens import SigningKeys

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 5.0
"""In which the owner has to have begun its own fetch."""
IDLE_SECONDS: Final = 10.0
CONNECTIONS: Final = 64
"""To all peers at once; beyond it the upstream is asked."""


class PeerClient:
    """Blobs from their owners."""

    name = "peer"
    vouches = True

    def __init__(
        self,
        names: Sequence[Address],
        instance: str,
        keys: Callable[[], SigningKeys],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`names` are the admin ports of all replicas, `instance` this one."""
        self.membership = Membership(names, clock)
        self._instance, self._keys = instance, keys
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def close(self) -> None:
        """Close every connection."""
        session, self._session, self._closed = self._session, None, True
        if session is not None:
            await session.close()

    async def ask(self, ask: Ask) -> UpstreamResponse | None:
        """The blob's owner's answer, its body still to come; None if it has to be fetched from the upstream."""
        owner = None if ask.by_peer or self._closed else self.membership.owner(ask.digest)
        if owner is None:
            return None
        try:
            return await self._send(ask, owner)
        except (aiohttp.ClientError, OSError, TimeoutError):
            self.membership.note_down(owner)
            return None

    async def _send(self, ask: Ask, owner: Address) -> UpstreamResponse | None:
        path = path_of(ask)
        host = f"[{owner[0]}]" if ":" in owner[0] else owner[0]
        ticket = self._keys().issue_ticket(path, time.time())
        headers = {"Authorization": f"Bearer {ticket}", INSTANCE: self._instance, "Accept-Encoding": "identity"}
        url = URL(f"http://{host}:{owner[1]}{path}", encoded=True)
        raw = await self._opened().get(url, headers=headers, allow_redirects=False)
        if raw.status == 200:
            return UpstreamResponse(raw, f"the replica at {host}", IDLE_SECONDS)
        raw.close()
        if raw.status == 421:  # Misdirected Request: it is this replica itself
            self.membership.note_own(owner)
        elif raw.status >= 500 or raw.status in {401, 403}:
            self.membership.note_down(owner)
        return None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(
                connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS
            )
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=timeout,
                trust_env=False,
                auto_decompress=False,
            )
        return self._session
