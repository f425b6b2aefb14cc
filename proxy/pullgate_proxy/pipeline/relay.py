"""An Answer -> the client: status, allowed headers, body.

Once a header is out, a failure aborts the connection: a client must never take a broken body for a whole one. The
client's socket buffer is the only one: a slow client stops the reading from the upstream, or from the file.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from pullgate.faults import Fault, Internal
from pullgate_proxy.cache.held import FilePart
from pullgate_proxy.pipeline.forward import Answer
from pullgate_proxy.pipeline.send_file import send_part
from pullgate_proxy.pipeline.whole import WholeAnswer, render_head
from pullgate_proxy.pull_log import Record

COMMON_HEADERS = {"Docker-Distribution-Api-Version": "registry/2.0", "X-Content-Type-Options": "nosniff"}


class ClientGone(Exception):
    """The client closed its connection; nobody reads an answer any more."""


async def relay(http: web.BaseRequest, answer: Answer, record: Record) -> web.StreamResponse:
    """Send `answer`; counts what was sent in `record`. Raises ClientGone."""
    record.status = answer.status
    if answer.stream is None:
        return _small(http, answer, record)
    headers = {**COMMON_HEADERS, "X-Request-Id": record.request_id, **answer.headers}
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_length = _length(answer)
    try:
        await _send_stream(http, answer, response, record)
    except Fault as fault:
        _abort(http, record, fault)
    except (ConnectionError, TimeoutError) as error:
        raise ClientGone from error
    finally:
        await answer.stream.aclose()  # type: ignore[attr-defined]  # its upstream or file is released now
    return response


async def _send_stream(http: web.BaseRequest, answer: Answer, response: web.StreamResponse, record: Record) -> None:
    transport = http.transport
    if transport is None or answer.stream is None:
        raise ClientGone
    # asyncio's TLS takes an empty buffer for a full one where the bound is 0, and waits for ever.
    transport.set_write_buffer_limits(high=1 if transport.get_extra_info("ssl_object") else 0, low=0)
    await response.prepare(http)
    async for chunk in answer.stream:
        if isinstance(chunk, FilePart):
            sent = await send_part(http, response, chunk, record)
            if sent < chunk.count:
                await chunk.broken(chunk.count - sent)
            await asyncio.sleep(0)  # of many who ask at once each has a first part before one has a second
            continue
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
    if http.method != "HEAD":  # there it is the length of what a GET would bring
        headers["Content-Length"] = str(len(body))
    return WholeAnswer(render_head(answer.status, headers), record.request_id, body)


def _length(answer: Answer) -> int | None:
    text = answer.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _abort(http: web.BaseRequest, record: Record, fault: Fault) -> None:
    record.reason, record.message, record.aborted = fault.reason, fault.for_vendor, True
    if http.transport is not None:
        http.transport.abort()
    if isinstance(fault, Internal):
        raise fault
