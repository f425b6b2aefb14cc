"""Ways to spoil a right answer. Each function makes a fault for `ScriptedServer.on`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace

from tests.support.content import Bytes, Content, Corrupt, Endless, Noise, Part, content_of
from tests.support.upstreams.scripted import Fault
from tests.support.upstreams.wire import Ending, Reply, Request, Stop

# Another answer.


def answer(
    status: int, body: bytes | Content = b"", headers: Mapping[str, str] | None = None, *, reason: str | None = None
) -> Fault:
    """This instead of the right answer."""
    reply = Reply(status, tuple((headers or {}).items()), content_of(body), reason)
    return lambda request, right: reply


def refuse(status: int, code: str, message: str = "", headers: Mapping[str, str] | None = None) -> Fault:
    """An error with the OCI body."""
    body = json.dumps({"errors": [{"code": code, "message": message or code.lower()}]}).encode()
    return answer(status, body, {"Content-Type": "application/json", **(headers or {})})


def challenge(text: str | None) -> Fault:
    """401 with `text` as its WWW-Authenticate, or with none."""
    return refuse(401, "UNAUTHORIZED", headers={} if text is None else {"WWW-Authenticate": text})


def rate_limited(retry_after: str | None = "42") -> Fault:
    """429, with a Retry-After as it is written here."""
    return refuse(429, "TOOMANYREQUESTS", headers={} if retry_after is None else {"Retry-After": retry_after})


def redirect(location: str, status: int = 307) -> Fault:
    """A redirect to `location`, which is sent as it is."""
    return answer(status, headers={"Location": location})


def endless(status: int = 200, *, content_type: str = "application/json", declared: int | None = None) -> Fault:
    """A body that never ends: in chunks, or with a Content-Length of `declared` bytes."""
    headers = {"Content-Type": content_type} | ({} if declared is None else {"Content-Length": str(declared)})
    return answer(status, Endless(), headers)


def raw(data: bytes) -> Fault:
    """These bytes instead of an answer; then the connection is closed."""
    return lambda request, right: Reply(head=data)


# The right answer, interrupted.


def hang(gate: asyncio.Event | None = None) -> Fault:
    """No first byte, until the gate opens or the client leaves."""
    return _stop(Stop(Ending.HANG, None, gate))


def hang_after(count: int, gate: asyncio.Event | None = None) -> Fault:
    """Headers and `count` bytes of the body, then nothing until the gate opens or the client leaves."""
    return _stop(Stop(Ending.HANG, count, gate))


def close() -> Fault:
    """The connection is closed instead of an answer."""
    return _stop(Stop(Ending.CLOSE))


def close_after(count: int) -> Fault:
    """A truncated body: the right Content-Length, `count` bytes, an orderly end."""
    return _stop(Stop(Ending.CLOSE, count))


def reset() -> Fault:
    """RST instead of an answer."""
    return _stop(Stop(Ending.RESET))


def reset_after(count: int) -> Fault:
    """RST after `count` bytes of the body."""
    return _stop(Stop(Ending.RESET, count))


def trickle(piece: int, pause: float) -> Fault:
    """The body in pieces of so many bytes, with so many seconds in between."""
    return lambda request, right: replace(right, piece=piece, pause=pause)


# The right answer, falsified.


def corrupt(at: int = 0) -> Fault:
    """The byte at `at` of the body that is sent is wrong; length and headers are right."""
    return lambda request, right: replace(right, content=Corrupt(right.content, at))


def shortened(count: int) -> Fault:
    """The body's first `count` bytes, with the Content-Length of just these."""
    return lambda request, right: replace(right, content=Part(right.content, 0, count))


def body(content: bytes | Content) -> Fault:
    """Another body below the same headers; the Content-Length is the new body's."""
    return lambda request, right: replace(right, content=content_of(content))


def header(name: str, value: str | None) -> Fault:
    """A header set to `value`, unchecked; None takes it away."""
    return lambda request, right: right.with_header(name, value)


def wrong_digest() -> Fault:
    """Another digest in Docker-Content-Digest."""
    return header("Docker-Content-Digest", "sha256:" + "0" * 64)


def no_digest() -> Fault:
    """Without Docker-Content-Digest."""
    return header("Docker-Content-Digest", None)


def range_ignored() -> Fault:
    """200 and the whole body, whatever range was asked for."""

    def whole(_: Request, right: Reply) -> Reply:
        if right.status != 206 or right.whole is None:
            return right
        return replace(right, status=200, content=right.whole).with_header("Content-Range", None)

    return whole


def wrong_content_range(value: str = "bytes 0-0/1") -> Fault:
    """206 with a Content-Range that does not fit the body."""
    return lambda request, right: right.with_header("Content-Range", value) if right.status == 206 else right


def changed_on_resume() -> Fault:
    """Answer a range request with other content of the same size, with another ETag.

    To an If-Range that names the old one the answer is 200 and all of the new one, as RFC 9110 requires.
    """

    def changed(request: Request, right: Reply) -> Reply:
        if right.status != 206 or right.whole is None or not isinstance(right.content, Part):
            return right
        part = Part(Noise("changed", right.whole.size or 0), right.content.start, right.content.stop)
        tagged = right.with_header("ETag", '"changed"') if right.header("ETag") else right
        if "If-Range" in request.headers:
            return replace(tagged, status=200, content=part.content).with_header("Content-Range", None)
        return replace(tagged, content=part)

    return changed


def empty_body() -> Fault:
    """The right headers, the length of nothing."""
    return body(Bytes(b""))


def _stop(stop: Stop) -> Fault:
    return lambda request, right: replace(right, stop=stop)
