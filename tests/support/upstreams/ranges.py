"""Serving a part of a body (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.support.content import Part, content_of
from tests.support.upstreams.wire import Reply, Request


def cut_range(request: Request, reply: Reply) -> Reply:
    """`reply` as 206 (or 416) where `request` asks for ranges of it, and its If-Range, if any, holds."""
    if "," in request.headers.get("Range", "") and request.method == "GET" and reply.status == 200:
        return _cut_several(request.headers["Range"], reply)
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
    size = reply.content.size
    if request.method != "GET" or reply.status != 200 or size is None or wanted is None or wanted[0] == "bytes=-":
        return reply
    if request.headers.get("If-Range", reply.header("ETag")) != reply.header("ETag"):
        return reply
    first, last = wanted.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        return Reply(416, (("Content-Range", f"bytes */{size}"),))
    part = replace(reply, status=206, content=Part(reply.content, start, stop), whole=reply.content)
    return part.with_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")


def _cut_several(text: str, reply: Reply) -> Reply:
    """`multipart/byteranges` in the form of nginx (ngx_http_range_filter_module.c)."""
    pairs = [(int(first), int(last)) for first, last in re.findall(r"(\d+)-(\d+)", text)]
    body, size = b"", reply.content.size
    for first, last in pairs:
        body += b"\r\n--00000000000000000007\r\nContent-Type: application/octet-stream\r\n"
        body += f"Content-Range: bytes {first}-{last}/{size}\r\n\r\n".encode()
        body += b"".join(Part(reply.content, first, last + 1).chunks())
    body += b"\r\n--00000000000000000007--\r\n"
    several = replace(reply, status=206, content=content_of(body))
    return several.with_header("Content-Type", "multipart/byteranges; boundary=00000000000000000007")
