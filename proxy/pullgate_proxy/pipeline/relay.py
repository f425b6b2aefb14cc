"""An Answer -> the client: status, allowed headers, body.

Once a header is out, a failure aborts the connection: a client must never take a broken body for a whole one. The
client's socket buffer is the only one: a slow client stops the reading from the upstream, or from the file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from pullgate.faults import Fault, Internal
from pullgate_proxy.cache.blobs.reader import FilePart, Part
from pullgate_proxy.pipeline.forward import Answer
from pullgate_proxy.pipeline.reservation import Reservation, Reserve
from pullgate_proxy.pipeline.send_file import send_part
from pullgate_proxy.pipeline.whole import WholeAnswer, render_head
from pullgate_proxy.request.record import Record

COMMON_HEADERS = {"Docker-Distribution-Api-Version": "registry/2.0", "X-Content-Type-Options": "nosniff"}


class ClientGone(Exception):
    """The client closed its connection; nobody reads an answer any more."""


async def relay(http: web.BaseRequest, answer: Answer, record: Record, reserve: Reserve | None) -> web.StreamResponse:
    """Send `answer`; counts what was sent in `record`. `reserve` is None for a body whose bytes nobody limits here.

    Raises ClientGone; before anything is sent also what `reserve` raises.
    """
    stream = answer.stream
    try:
        body = Reservation(reserve) if reserve is not None else None
        if body is not None:
            body.begin(_length(http, answer))
        record.status, record.pull, record.cache = answer.status, answer.is_pull, answer.cache
        if stream is None:
            return _small(http, answer, record)
        headers = {**COMMON_HEADERS, "X-Request-Id": record.request_id, **answer.headers}
        response = web.StreamResponse(status=answer.status, headers=headers)
        response.content_length = _length(http, answer)
        try:
            await _send_stream(http, stream, response, record, body)
        except Fault as fault:
            _abort(http, record, fault)
        except (ConnectionError, TimeoutError) as error:
            raise ClientGone from error
        return response
    finally:
        if stream is not None:
            await stream.aclose()  # type: ignore[attr-defined]  # its upstream or file is released now


async def _send_stream(
    http: web.BaseRequest,
    stream: AsyncIterator[Part],
    response: web.StreamResponse,
    record: Record,
    body: Reservation | None,
) -> None:
    transport = http.transport
    if transport is None:
        raise ClientGone
    # asyncio's TLS takes an empty buffer for a full one where the bound is 0, and waits for ever.
    transport.set_write_buffer_limits(high=1 if transport.get_extra_info("ssl_object") else 0, low=0)
    await response.prepare(http)
    async for chunk in stream:
        if isinstance(chunk, FilePart):
            if body is not None:
                body.cover(record.bytes + chunk.count)
            sent = await send_part(http, response, chunk, record)
            if sent < chunk.count:
                await chunk.broken(chunk.count - sent)
            await asyncio.sleep(0)  # of many who ask at once each has a first part before one has a second
            continue
        if body is not None:
            body.cover(record.bytes + len(chunk))
        await response.write(chunk)
        if transport.get_write_buffer_size():
            await http.writer.drain()  # the chunk's buffer is filled again: nothing may still point to it
        record.bytes += len(chunk)
    await response.write_eof()


def _small(http: web.BaseRequest, answer: Answer, record: Record) -> WholeAnswer:
    body = b"" if http.method == "HEAD" else answer.body
    record.bytes = len(body)
    if answer.head:
        return WholeAnswer(answer.head, record.request_id, body)
    headers = {**COMMON_HEADERS, **answer.headers}
    if http.method != "HEAD":  # there it is the length of a GET's body
        headers["Content-Length"] = str(len(body))
    return WholeAnswer(render_head(answer.status, headers), record.request_id, body)


def _length(http: web.BaseRequest, answer: Answer) -> int | None:
    """Bytes of the body that is sent; None if only its end will tell."""
    if answer.stream is None:
        return 0 if http.method == "HEAD" else len(answer.body)
    text = answer.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _abort(http: web.BaseRequest, record: Record, fault: Fault) -> None:
    record.reason, record.message, record.aborted = fault.reason, fault.for_vendor, True
    if http.transport is not None:
        http.transport.abort()
    if isinstance(fault, Internal):
        raise fault
