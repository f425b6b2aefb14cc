"""Answers another replica's ask for a blob that is this one's: from the disk, or by fetching it now.

The other one looked at the License. This one serves the blob by the same rule as to a client of its own: its file only
if the very place that the ticket names is proven here, else what that place's upstream delivers now.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from pullgate.faults import Fault, Overloaded, ShareReached, UpstreamTimeout
from pullgate.shares import Shares, registry_holders
from pullgate_proxy.cache.blobs.ask import Ask
from pullgate_proxy.cache.blobs.cache import BlobCache
from pullgate_proxy.cache.blobs.reader import Held
from pullgate_proxy.peers.ticket import INSTANCE, Wanted, read_path
from pullgate_proxy.pipeline.forward import Answer
from pullgate_proxy.pipeline.relay import ClientGone, relay
from pullgate_proxy.request.record import Record
from pullgate_proxy.state.tokens import SigningKeys

AT_ONCE: Final = 256
OPEN_SECONDS: Final = 4.0
"""Seconds to the first byte of a blob. A slow upstream is not this replica's failure: the other one asks it itself.

Less than the other one waits (`client.ANSWER_SECONDS`), which takes silence for a replica that is down.
"""

MakeAsk = Callable[[Wanted], Ask | None]
"""None if there is no such Registry. Raises a fault where it cannot be asked."""


def build_peer_server(
    blobs: BlobCache, instance: str, keys: Callable[[], SigningKeys], make_ask: MakeAsk
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The handler of /peer/…"""
    shares = Shares("peers", AT_ONCE)

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get(INSTANCE) == instance:
            return web.Response(status=421)
        path = request.raw_path
        ticket = request.headers.get("Authorization", "").removeprefix("Bearer ")
        wanted = read_path(path)
        if wanted is None or not keys().verifies_ticket(ticket, path, time.time()):
            return web.Response(status=403)
        try:
            with shares.lend(*registry_holders(wanted.app, wanted.registry)) as seat:
                seat.grow_to(1)
                return await _send(request, blobs, make_ask, wanted)
        except Overloaded:
            return web.Response(status=503)
        except ShareReached as fault:
            return _refuse(fault)

    return answer


async def _send(request: web.Request, blobs: BlobCache, make_ask: MakeAsk, wanted: Wanted) -> web.StreamResponse:
    try:
        ask = make_ask(wanted)
        if ask is None or ask.place.key != wanted.place:
            # The two replicas do not know the same Registry under this name, for the moment.
            return web.Response(status=404)
        async with asyncio.timeout(OPEN_SECONDS):
            held: Held | None = await blobs.open(ask)
    except TimeoutError:
        return web.Response(status=404, headers={"X-Pullgate-Reason": UpstreamTimeout.reason})
    except Fault as fault:
        return _refuse(fault)
    if held is None:
        return web.Response(status=404)
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(held.size)}
    try:
        return await relay(request, Answer(200, headers, stream=held), Record(), None)
    except ClientGone:
        raise ConnectionResetError from None


def _refuse(fault: Fault) -> web.Response:
    """Not a failure of this replica: the other one asks the upstream, and tells its client what that says."""
    return web.Response(status=404, headers={"X-Pullgate-Reason": fault.reason})
