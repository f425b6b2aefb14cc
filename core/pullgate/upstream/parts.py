"""The answer to several ranges at once: `multipart/byteranges` (RFC 9110, section 14.6), relayed as it comes in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Self

from pullgate import faults
from pullgate.upstream.request import UpstreamResponse

_TYPE = re.compile(r'multipart/byteranges\s*;\s*boundary="?[\w\'()+,./:=? -]{1,70}"?\s*\Z', re.ASCII | re.IGNORECASE)


def is_multipart(response: UpstreamResponse) -> bool:
    """True if `response` is 206 with several parts."""
    return response.status == 206 and _TYPE.match(response.headers.get("Content-Type", "")) is not None


class PartsStream(AsyncIterator[bytes | memoryview]):
    """The body of `response`. It cannot be resumed or verified; the client verifies what it assembles.

    A chunk is valid until the next is asked for. Raises an upstream's fault if the body breaks off. Call `aclose` in
    the end.
    """

    def __init__(self, response: UpstreamResponse) -> None:
        self._response = response
        self._left = response.length
        """Bytes that are still to come; None if the upstream does not say."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes | memoryview:
        while self._response.lent:
            self._response.give_back()
        chunk = await self._response.next_part()
        if chunk:
            if self._left is not None:
                self._left -= len(chunk)
            return chunk
        if self._left:
            raise faults.UpstreamProtocol(self._response.host, "the body ended early")
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Give the connection back, or close it if the body was not read to its end."""
        self._response.release()
