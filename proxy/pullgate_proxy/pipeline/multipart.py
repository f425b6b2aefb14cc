"""Several ranges of a blob's file as one body: `multipart/byteranges` (RFC 9110, section 14.6)."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Self

from pullgate_proxy.cache.blobs.reader import Held, Part


class Multipart(AsyncIterator[Part]):
    """The bytes of `ranges` (first, end) of `held`, each with its head. Call `aclose` in the end; it closes `held`."""

    def __init__(self, held: Held, ranges: Sequence[tuple[int, int]]) -> None:
        self._held = held
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/byteranges; boundary={boundary}"
        self._parts = [
            (
                f"\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n"
                f"Content-Range: bytes {first}-{end - 1}/{held.size}\r\n\r\n".encode(),
                first,
                end,
            )
            for first, end in ranges
        ]
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self.length = sum(len(head) + end - first for head, first, end in self._parts) + len(self._tail)
        """Bytes of the whole body."""
        self._pieces = self._iterate()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Part:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """Nobody reads any more."""
        await self._pieces.aclose()
        await self._held.aclose()

    async def _iterate(self) -> AsyncGenerator[Part, None]:
        for head, first, end in self._parts:
            yield head
            await self._held.move(first, end)
            async for part in self._held:
                yield part
        yield self._tail
