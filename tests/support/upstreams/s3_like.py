"""An object store that registries redirect blobs to: another origin, signed URLs, no Authorization header."""

from __future__ import annotations

import hashlib
import ssl

from tests.support.content import Content, content_of
from tests.support.upstreams.ranges import cut_range
from tests.support.upstreams.scripted import ScriptedServer
from tests.support.upstreams.wire import Reply, Request


class S3Like(ScriptedServer):
    """Serves what was put, at the very URL that `put` gave: one character changed on the way and the answer is 403.

    By default it stands at 127.0.0.2, so that its host differs from that of servers at 127.0.0.1; with `name` its URLs
    say that name instead ("localhost").
    """

    def __init__(self, *, bind: str = "127.0.0.2", name: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(bind=bind, name=name, tls=tls)
        self._objects: dict[str, Content] = {}

    def put(self, key: str, body: bytes | Content) -> str:
        """Keep `body`; returns its signed URL, with escapes in path and query that re-encoding would change."""
        signature = hashlib.sha256(f"{self.host}/{key}".encode()).hexdigest()
        path = f"/bucket/{key.replace(':', '%3A')}/data"
        signed = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20261124%2Fs3&note=a%2bb%20c~d"
        target = f"{path}?{signed}&X-Amz-Signature={signature}"
        self._objects[target] = content_of(body)
        return self.url + target

    def answer(self, request: Request) -> Reply:
        """See ScriptedServer."""
        if "Authorization" in request.headers:
            return _error(400, "InvalidArgument", "Only one auth mechanism allowed")
        content = self._objects.get(request.target)
        if content is None:
            return _error(403, "SignatureDoesNotMatch", "The signature does not match")
        headers = (("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes"), ("Server", "S3Like"))
        etag = hashlib.md5(request.target.encode(), usedforsecurity=False).hexdigest()
        return cut_range(request, Reply(200, (*headers, ("ETag", f'"{etag}"')), content))


def _error(status: int, code: str, message: str) -> Reply:
    text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Reply(status, (("Content-Type", "application/xml"),), content_of(text.encode()))
