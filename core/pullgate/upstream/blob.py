"""A blob's bytes as they come in: resumed where they break off, and never brought to an end that is not theirs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Self

from pullgate import faults
from pullgate.oci.digest import Hasher
from pullgate.upstream.client import Upstream
from pullgate.upstream.hashing import BodyHash, FileSink
from pullgate.upstream.ranges import parse_content_range
from pullgate.upstream.request import LENT_LIMIT, UpstreamRequest, UpstreamResponse
from pullgate.upstream.retry import wait_before

RESUMES = 5
"""New tries for one body, if each brings some bytes."""


def stream_blob(
    upstream: Upstream,
    request: UpstreamRequest,
    response: UpstreamResponse,
    *,
    sink: FileSink | None = None,
    current: Callable[[], Upstream] | None = None,
) -> BlobStream:
    """The body of `response`, which `upstream.send(request)` returned for a GET of a blob.

    `sink` is written to before a byte counts as hashed. `current` is asked for the client of the rest where the body
    breaks: the credentials may be others by then; it may raise a fault.
    Raises DigestMismatch, UpstreamProtocol or any other fault of an upstream, always before the last byte was handed
    out; who has sent headers by then aborts the client's connection. OSError where `sink` cannot be written.
    Call `aclose` in the end, begun or not.
    """
    return BlobStream(current or (lambda: upstream), request, response, sink=sink)


async def stream_rest(
    upstream: Upstream, request: UpstreamRequest, position: int, total: int, begun: Hasher
) -> BlobStream:
    """The bytes of a whole blob of `total` bytes from `position` on, of which `begun` has hashed what comes before.

    As `stream_blob`, and verified as a whole.
    """
    rest = replace(request, range=f"bytes={position}-", follow_redirects=True)
    response = await upstream.send(rest)
    stream = BlobStream(lambda: upstream, request, response, begun=(position, total, begun))
    try:
        stream.accept(response)
    except faults.Fault:
        response.abort()
        raise
    return stream


async def stream_part(upstream: Upstream, request: UpstreamRequest, first: int, end: int) -> BlobStream:
    """The bytes `first` to before `end` of a blob, as `stream_blob`; only a client can verify them."""
    wanted = replace(request, range=f"bytes={first}-{end - 1}", follow_redirects=True)
    response = await upstream.send(wanted)
    if response.status != 206:  # all of it, say
        response.abort()
        raise faults.UpstreamProtocol(response.host, f"it answered {response.status} for a part of a blob")
    return BlobStream(lambda: upstream, wanted, response)


class BlobStream(AsyncIterator[bytes | memoryview]):
    """See `stream_blob`. A chunk is valid until the next is asked for."""

    def __init__(
        self,
        current: Callable[[], Upstream],
        request: UpstreamRequest,
        response: UpstreamResponse,
        *,
        sink: FileSink | None = None,
        begun: tuple[int, int, Hasher] | None = None,
    ) -> None:
        self._current = current
        self._request = request
        self._response = response
        part = parse_content_range(response.headers.get("Content-Range", "")) if response.status == 206 else None
        self._first = part.first if part else 0
        self._total = part.total if part else response.length
        """Bytes of the whole blob, None if the upstream does not say."""
        self._end = part.last + 1 if part else response.length
        """The offset behind the last byte that was asked for."""
        self._hash = None if part else BodyHash(request.reference, sink)
        if begun is not None:
            self._first, self._total = begun[:2]
            self._end = self._total
            self._hash = BodyHash(request.reference, begun=begun[2])
        self._position = self._first
        """The offset behind the last byte that came in."""
        self._held: bytes | memoryview = b""
        """The chunk that may be the last: it is sent once the next is here, or the digest matches."""
        self._marks: deque[int] = deque()
        """For each part that the response lent, how far the hash must be before it can be given back."""
        self._resumes = 0
        self._resumed_at = -1
        self._skip = 0
        self._done = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes | memoryview:
        while not self._done:
            chunk = await self._next()
            if not chunk:
                await self._finish()
                break
            if self._end is not None and self._position < self._end:
                return chunk
            ready, self._held = self._held, chunk
            if ready:
                return ready
        last, self._held = self._held, b""
        if not last:
            raise StopAsyncIteration
        return last

    async def aclose(self) -> None:
        """Give the connection back, or close it where the body was not read to its end."""
        self._done, self._held = True, b""
        self._response.release()

    async def _next(self) -> bytes | memoryview:
        """The next bytes of the blob; empty at its end."""
        while True:
            try:
                await self._give_back()
                chunk = await self._response.next_part()
            except (faults.UpstreamProtocol, faults.UpstreamTimeout) as broken:
                await self._resume(broken)
                continue
            if self._skip:
                chunk, self._skip = self._without_known(chunk)
                if not chunk and self._skip:
                    self._lend()
                    continue
            if not chunk and self._end is not None and self._position < self._end:
                # A server that ends cleanly too early, by closing a connection that had no length.
                await self._resume(faults.UpstreamProtocol(self._response.host, "the body ended early"))
                continue
            if self._end is not None and self._position + len(chunk) > self._end:
                # The rest after a break has its own length. A surplus would push out the chunk that is held back.
                raise faults.UpstreamProtocol(self._response.host, "it sent more of a blob than it said")
            if self._hash is not None:
                await self._hash.update(chunk)
            self._lend()
            self._position += len(chunk)
            return chunk

    def _lend(self) -> None:
        if self._response.lent > len(self._marks):
            self._marks.append(self._hash.fed if self._hash is not None else 0)

    async def _give_back(self) -> None:
        """The parts that were sent (the next is asked for) and hashed can be filled again."""
        if len(self._marks) >= LENT_LIMIT and self._hash is not None and self._hash.done < self._marks[0]:
            await self._hash.settle()
        while self._marks and (self._hash is None or self._hash.done >= self._marks[0]):
            self._marks.popleft()
            self._response.give_back()

    async def _finish(self) -> None:
        self._done = True
        self._response.release()
        if self._hash is not None and not await self._hash.matches():
            self._held = b""
            raise faults.DigestMismatch(self._response.host, self._request.reference)

    async def _resume(self, broken: faults.Fault) -> None:
        """Ask for the rest. Raises `broken` where that is hopeless."""
        self._response.abort()
        if self._resumes == RESUMES or self._position == self._resumed_at:
            raise broken
        if self._resumes:
            await asyncio.sleep(wait_before(self._resumes))
        self._resumes += 1
        self._resumed_at = self._position
        last = "" if self._end is None or self._end == self._total else str(self._end - 1)
        etag = self._response.headers.get("ETag", "")
        rest = replace(
            self._request,
            range=f"bytes={self._position}-{last}",
            # A weak one may not stand there (RFC 9110, section 13.1.5); a whole blob is guarded by its digest anyway.
            if_range=etag if etag.startswith('"') else None,
            follow_redirects=True,
        )
        response = await self._current().send(rest)
        try:
            self.accept(response)
        except faults.Fault:
            response.abort()
            raise
        self._response = response
        self._marks.clear()

    def accept(self, response: UpstreamResponse) -> None:
        """Take over `response` as the rest from here on. Raises UpstreamProtocol if it is not."""
        if response.status == 206:
            part = parse_content_range(response.headers.get("Content-Range", ""))
            if part is None or (None not in (part.total, self._total) and part.total != self._total):
                raise faults.UpstreamProtocol(response.host, "the blob has another length than before")
            return
        if response.status != 200 or self._hash is None:
            raise faults.UpstreamProtocol(response.host, f"it answered {response.status} for the rest of a blob")
        # It does not know ranges: from the beginning once more, and the digest tells whether it is the same blob.
        self._skip = self._position

    def _without_known(self, chunk: bytes | memoryview) -> tuple[bytes | memoryview, int]:
        """`chunk` without the bytes that came in before, and how many of these are still to come."""
        if not chunk:
            return chunk, 0
        known = min(len(chunk), self._skip)
        return chunk[known:], self._skip - known
