"""A request to an upstream, and its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from pullgate import faults
from pullgate.shares import Holders, Loan, Shares
from pullgate.upstream.failures import fault_of_body
from pullgate.upstream.large_body import BUFFERS, LARGE, LargeBody, take_over

if TYPE_CHECKING:
    from pullgate.upstream.auth import Authorization

Method = Literal["GET", "HEAD"]
Kind = Literal["manifests", "blobs", "tags", "referrers", "ping"]

LENT_LIMIT = BUFFERS - 1
"""Parts of a large body that may wait to be given back while the next is read."""
READ_AT_ONCE = 128 * 1024
"""Bytes of a body that are read from a socket in one go."""


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """One read of the distribution-spec. The caller checks repository, reference, range and query."""

    method: Method
    repository: str
    kind: Kind
    reference: str = ""
    """Tag or digest; empty for tags, which have none."""
    accept: tuple[str, ...] = ()
    """Accept values; see `oci.accept`."""
    range: str | None = None
    """A Range value: "bytes=N-", "bytes=N-M" or "bytes=-N"; or several of them, which only a GET of a blob may ask."""
    if_range: str | None = None
    if_none_match: str | None = None
    query: str = ""
    """Encoded, without the question mark."""
    fresh: bool = False
    """True: caches on the way must be bypassed (RFC 9111, section 5.2.1.4)."""
    follow_redirects: bool = True
    """False: a redirect to another origin is handed back (see `UpstreamResponse.location`)."""

    @property
    def path(self) -> str:
        """Path and query below the upstream's origin (distribution-spec, "Endpoints")."""
        if self.kind == "ping":
            return "/v2/"
        tail = "tags/list" if self.kind == "tags" else f"{self.kind}/{self.reference}"
        return f"/v2/{self.repository}/{tail}" + (f"?{self.query}" if self.query else "")


class UpstreamResponse:
    """An upstream's answer whose headers are here and whose body, for a GET, may still be on its way.

    The holder must read it to its end or call `release`.
    """

    __slots__ = (
        "_begun",
        "_budget",
        "_holders",
        "_host",
        "_idle",
        "_large",
        "_raw",
        "broken",
        "headers",
        "location",
        "shown",
        "status",
        "url",
    )

    def __init__(
        self,
        raw: aiohttp.ClientResponse,
        host: str,
        idle: float,
        location: URL | None = None,
        budget: Shares | None = None,
        holders: Holders = (),
    ) -> None:
        """`budget` counts the bytes that `read` keeps in memory, in the name of `holders`."""
        self._raw = raw
        self._host = host
        self._idle = idle
        self._budget, self._holders = budget or Shares("bodies"), holders
        self.status: int = raw.status
        """200, 206, 304, 416, or a redirect's when `location` is set."""
        self.headers: CIMultiDictProxy[str] = raw.headers
        self.url: URL = raw.url
        """The URL that answered, after redirects; its query may hold a signature: never log it."""
        self.location: URL | None = location
        """Target of a redirect that was not followed: a signed URL on another origin, safe to hand out."""
        self.shown: Authorization | None = None
        """The login that the upstream was shown; None for a stranger."""
        self._begun = False
        self._large: LargeBody | None = None
        self.broken = False
        """True if reading the body failed."""
        connection = raw.connection
        if connection is not None and connection.protocol is not None:
            # aiohttp has one time-out between bytes; until here it bounded the first byte.
            connection.protocol.read_timeout = idle
            if connection.transport is not None:
                # asyncio's own 256 KiB at once are a third of the memory of 200 slow clients, and no faster.
                connection.transport.max_size = READ_AT_ONCE  # type: ignore[attr-defined]
            if not connection.protocol._reading_paused:
                # While the reading is paused (a slow client), no byte is owed.
                connection.protocol.start_timeout()

    @property
    def host(self) -> str:
        """The host that answered, in words."""
        return self._host

    @property
    def is_page(self) -> bool:
        """True if it is a web page: another program listens there (Nexus' own port shows its UI)."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html"

    def refuse_page(self) -> None:
        """Raise UpstreamProtocol if it is a web page."""
        if self.is_page:
            self.abort()
            raise faults.UpstreamProtocol(self._host, "it answered with a web page; is a registry at this port?")

    @property
    def phrase(self) -> str:
        """The reason phrase."""
        return self._raw.reason or ""

    @property
    def length(self) -> int | None:
        """Content-Length, None if there is none or it is no number."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None

    def turn_into_head(self, size: int | None) -> None:
        """Make the answer to a GET of a part the answer to a HEAD of the whole, `size` bytes (None: not known)."""
        headers = CIMultiDict(self.headers)
        headers.popall("Content-Range", None)
        headers.popall("Content-Length", None)
        if size is not None:
            headers["Content-Length"] = str(size)
        self.status, self.headers = 200, CIMultiDictProxy(headers)

    async def read(self, limit: int) -> bytes:
        """The whole body, at most `limit` bytes, within the time for which a large one may pause.

        Raises UpstreamProtocol beyond that size or where the body breaks off, UpstreamTimeout beyond that time.
        ShareReached or Overloaded where the budget has no room for it: the bytes that came count, and not the length
        that was announced.
        """
        if (self.length or 0) > limit:
            self.release()
            raise faults.UpstreamProtocol(self._host, f"the answer is larger than {limit} bytes")
        with self._budget.lend(*self._holders) as loan:
            try:
                async with asyncio.timeout(self._idle):
                    return await self._read(limit, loan)
            except (faults.Overloaded, faults.ShareReached):
                self.abort()
                raise
            except TimeoutError as error:
                fault = self._break(error)
        raise fault

    async def _read(self, limit: int, loan: Loan) -> bytes:
        parts: list[bytes] = []
        size = 0
        while chunk := await self.next_chunk():
            size += len(chunk)
            if size > limit:
                self.release()
                raise faults.UpstreamProtocol(self._host, f"the answer is larger than {limit} bytes")
            loan.grow_to(size)
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def next_chunk(self) -> bytes:
        """The bytes of the body that have arrived, at least one; empty at its end.

        Raises UpstreamTimeout when it stalls, UpstreamProtocol when it breaks off; the connection is closed then.
        """
        try:
            return await self._read_some()
        except (aiohttp.ClientError, OSError) as error:
            fault = self._break(error)
        raise fault

    async def _read_some(self) -> bytes:
        # aiohttp's time-out begins anew with each byte, also with those of a chunk's endless extension.
        async with asyncio.timeout(self._idle):
            return await self._raw.content.readany()

    async def next_part(self) -> bytes | memoryview:
        """As `next_chunk`, for a body that may be large: call it alone, and from the beginning.

        A memoryview is one more of `lent`, and valid until `give_back` was called for it.
        """
        try:
            if self._large is None and not self._begun:
                self._begun = True
                if (length := self.length) is not None and length >= LARGE and self.status in {200, 206}:
                    before, self._large = take_over(self._raw, length, self._idle)
                    if before:
                        return before
            if self._large is None:
                return await self._read_some()
            return await self._large.next_chunk() or b""
        except (aiohttp.ClientError, OSError) as error:
            fault = self._break(error)
        raise fault

    @property
    def lent(self) -> int:
        """Parts that wait to be given back; with more than `LENT_LIMIT` of them the next never comes."""
        return self._large.lent if self._large is not None else 0

    def give_back(self) -> None:
        """The oldest part that is lent is not needed any more."""
        if self._large is not None:
            self._large.give_back()

    def _break(self, error: Exception) -> faults.Fault:
        self.broken = True
        self.abort()
        return fault_of_body(error, self._host, self._idle)

    async def iter(self) -> AsyncIterator[bytes]:
        """The body as it comes in; faults as of `next_chunk`."""
        while chunk := await self.next_chunk():
            yield chunk

    def release(self) -> None:
        """Done with it. The connection goes back to the pool when its body was read to the end, else it is closed."""
        if self._large is None:
            self._raw.release()
        else:
            self.abort()  # aiohttp's parser did not see the end

    def abort(self) -> None:
        """Close the connection at once."""
        if self._large is not None:
            self._large.stop()
        self._raw.close()
