"""HEAD is believed only if it succeeds; a GET decides everything else.

ECR Public answers HEAD of a blob with 401 (aws/containers-roadmap#2671), Nexus HEAD of a manifest with 404. A signed
URL of a storage is often good for GET alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from pullgate import faults
from pullgate.upstream.ranges import parse_content_range
from pullgate.upstream.request import Method, UpstreamRequest, UpstreamResponse

SKIP_SECONDS: Final = 600.0
"""How long HEAD of a blob is not tried again after the upstream refused it and answered the GET."""

_NO_HEAD = frozenset({401, 403, 405, 501})


class Client(Protocol):
    """The part of `Upstream` that is needed here."""

    async def exchange(self, request: UpstreamRequest, method: Method) -> UpstreamResponse:
        """One try: whatever the upstream answered."""

    async def check(self, request: UpstreamRequest, response: UpstreamResponse) -> UpstreamResponse:
        """`response` if it is what was asked for; else raises its fault."""


class BlobHeads:
    """Finds blobs of one upstream by HEAD, or by GET of one byte."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._skip_until = 0.0

    async def find(self, client: Client, request: UpstreamRequest) -> UpstreamResponse:
        """The answer to HEAD of a blob; status 200, or a redirect that was not followed. Raises its fault.

        Its body is read. Content-Length is the size of the whole blob if the upstream reports it.
        """
        if self._clock() < self._skip_until:
            return await _ask_one_byte(client, request)
        response = await try_head(client, request)
        if response is not None and response.status not in _NO_HEAD:
            if response.status < 400 or response.status == 416:
                return await client.check(request, response)
            return await _ask_one_byte(client, request)
        found = await _ask_one_byte(client, request)
        self._skip_until = self._clock() + SKIP_SECONDS
        return found


async def try_head(client: Client, request: UpstreamRequest) -> UpstreamResponse | None:
    """The answer to a HEAD, released; None if the login for it failed. 400 and above prove nothing.

    Raises UpstreamRateLimited, and faults of the connection.
    """
    try:
        response = await client.exchange(request, "HEAD")
    except (faults.UpstreamUnauthorized, faults.UpstreamForbidden):
        return None  # the GET may need no login
    if response.status == 429:
        return await client.check(request, response)  # about the account: a GET would only use up more of it
    response.release()
    return response


async def _ask_one_byte(client: Client, request: UpstreamRequest) -> UpstreamResponse:
    one = replace(request, method="GET", range="bytes=0-0", if_range=None)
    response = await client.check(one, await client.exchange(one, "GET"))
    if response.location is not None:
        response.release()
        return response
    size = response.length
    if response.status == 206:
        part = parse_content_range(response.headers.get("Content-Range", ""))
        size = part.total if part is not None else None
        await response.read(1)
    elif response.status == 416:  # no first byte: the blob is empty
        size = 0
        response.release()
    else:
        response.abort()  # ranges are not known there, and the whole blob would come
    response.turn_into_head(size)
    return response
