"""Parts of a file to a client by sendfile(2): no byte passes through this process, but under TLS."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import Final

from aiohttp import web

from pullgate_proxy.cache.blobs.reader import FilePart
from pullgate_proxy.request.record import Record

SMALL_PART: Final = 64 * 1024
"""Bytes of a file that are sent with the headers, in one go."""
PART_SECONDS: Final = 600.0
"""How long a client may take for one part of a file: at least 14 kB a second."""

log = logging.getLogger(__name__)


async def send_part(http: web.BaseRequest, response: web.StreamResponse, part: FilePart, record: Record) -> int:
    """Send `part` after the headers; counts in `record` what went out, and returns it.

    Less than all where the file does not give it: its disk fails, or it was cut. Raises ConnectionError if the
    client is gone, TimeoutError if it is too slow.
    """
    if part.count <= SMALL_PART:
        data = await _read_part(part)
        await response.write(data)
        record.bytes += len(data)
        return len(data)
    if not part.is_warm:
        await _warm(part)
    transport = http.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError
    http.writer.send_headers()
    sent, descriptor = 0, part.file.fileno()
    os.lseek(descriptor, part.offset, os.SEEK_SET)
    try:
        async with asyncio.timeout(PART_SECONDS):
            await asyncio.get_running_loop().sendfile(transport, part.file, part.offset, part.count)
    except (ConnectionError, TimeoutError):
        raise
    except OSError as error:
        log.warning("a file of the blob cache cannot be read: %s", error)
    finally:
        # asyncio leaves the file's position behind the last byte that went out.
        sent = os.lseek(descriptor, 0, os.SEEK_CUR) - part.offset
        record.bytes += sent
    return sent


async def _read_part(part: FilePart) -> bytes:
    """From memory if it is there, else in a thread; less than all where the file does not give it."""
    data = bytearray(part.count)
    descriptor = part.file.fileno()
    with contextlib.suppress(OSError):  # some file systems cannot tell
        if _read_now(descriptor, data, part.offset) == part.count:
            return bytes(data)
    try:
        count = await asyncio.to_thread(os.preadv, descriptor, [data], part.offset)
    except OSError as error:
        log.warning("a file of the blob cache cannot be read: %s", error)
        count = 0
    return bytes(data[:count])


async def _warm(part: FilePart) -> None:
    """Have the part in memory, so that sendfile waits for no disk in the loop: a thread does."""
    descriptor, last = part.file.fileno(), bytearray(1)
    with contextlib.suppress(OSError):  # tmpfs cannot tell, and is memory; else sendfile tells what is wrong
        if _read_now(descriptor, last, part.offset + part.count - 1) != 1:
            await asyncio.to_thread(_read_through, descriptor, part.offset, part.count)


def _read_now(descriptor: int, into: bytearray, offset: int) -> int:
    """Bytes that were read without waiting for the disk; 0 if it would have to be waited for."""
    try:
        return os.preadv(descriptor, [into], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return 0


def _read_through(descriptor: int, offset: int, count: int) -> None:
    buffer = bytearray(256 * 1024)
    end = offset + count
    while offset < end and (got := os.preadv(descriptor, [buffer], offset)):
        offset += got
