"""Serving a part of a body (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.support.content import Part
from tests.support.upstreams.wire import Reply, Request


def cut_range(request: Request, reply: Reply) -> Reply:
    """`reply` as 206 (or 416) where `request` asks for one range of it, and its If-Range, if any, holds."""
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
