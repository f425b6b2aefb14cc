"""A registry whose every answer a test writes itself, and which remembers what it was asked."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import hdrs, web

from pullgate.policy.tenancy import LOOPBACK, Networks
from pullgate.providers.credentials import Credentials
from pullgate.upstream.config import Timeouts, UpstreamConfig

CREDENTIALS = Credentials("robot", "CANARY-of-the-vendor")
DEFAULT_TIMEOUTS = Timeouts()
BASIC = "Basic cm9ib3Q6Q0FOQVJZLW9mLXRoZS12ZW5kb3I="


def digest_of(data: bytes) -> str:
    """sha256:hex of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


IMAGE_TYPE = "application/vnd.oci.image.manifest.v1+json"
IMAGE_BODY = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": IMAGE_TYPE,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + "c" * 64},
        "layers": [],
    }
).encode()
"""The smallest manifest of an image."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """The connection is cut when so many bytes of the body are out."""
    stall_after: int | None = None
    """Nothing more comes when so many bytes of the body are out; 0 is after the headers."""
    chunked: bool = False
    """Without a Content-Length."""
    silent: bool = False
    """Not even headers come."""
    hang_up: bool = False
    """The connection is cut instead of an answer."""


Script = Callable[[web.Request], Reply | Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came in."""

    method: str
    path: str
    """With the query, as it came."""
    headers: Mapping[str, str]
    form: Mapping[str, str]


class Stage:
    """A real server on loopback: `script` answers, `asked` remembers."""

    def __init__(self, script: Script, *, bind: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.port = 0
        self._bind = bind
        self._tls = tls
        self._ended = asyncio.Event()

    async def __aenter__(self) -> Stage:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._bind, 0, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended.set()
        await self._runner.cleanup()

    @property
    def host(self) -> str:
        """host:port"""
        return f"{self._bind}:{self.port}"

    @property
    def url(self) -> str:
        """Its origin."""
        return f"{'https' if self._tls else 'http'}://{self.host}"

    def config(
        self,
        *,
        credentials: Credentials | None = None,
        realm_hosts: frozenset[str] = frozenset(),
        networks: Networks = LOOPBACK,
        allow_private: bool = False,
        plain_http: bool = True,
        ca_pem: str | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
    ) -> UpstreamConfig:
        """The Registry that points here."""
        return UpstreamConfig(
            "my-app/stage",
            "registry.test",
            self.host,
            credentials,
            plain_http=plain_http,
            ca_pem=ca_pem,
            realm_hosts=realm_hosts,
            allow_private=allow_private,
            timeouts=timeouts,
            networks=networks,
        )

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.asked.append(Asked(request.method, request.raw_path, request.headers.copy(), form))
        said = self.script(request)
        reply = said if isinstance(said, Reply) else await said
        if reply.hang_up:
            return self._hang_up(request)
        if reply.silent:
            await self._ended.wait()
        send = self._send_whole if reply.cut_after is None and reply.stall_after is None else self._send_part
        try:
            return await send(request, reply)
        except ConnectionError:  # the client left: a server logs no traceback for that
            return web.Response()

    async def _send_whole(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        if reply.chunked:
            response.enable_chunked_encoding()
        elif hdrs.CONTENT_LENGTH not in reply.headers:
            response.content_length = len(reply.body)
        await response.prepare(request)
        if request.method != "HEAD":
            await response.write(reply.body)
        await response.write_eof()
        return response

    async def _send_part(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        response.content_length = len(reply.body)
        await response.prepare(request)
        await response.write(reply.body[: reply.cut_after if reply.stall_after is None else reply.stall_after])
        if reply.stall_after is not None:
            await self._ended.wait()
        await asyncio.sleep(0)
        if request.transport is not None:
            request.transport.close()
        return response

    def _hang_up(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()


def token_reply(token: str = "a-token", expires_in: object = 300) -> Reply:
    """A token server's answer."""
    return Reply(
        200, json.dumps({"token": token, "expires_in": expires_in}).encode(), {"Content-Type": "application/json"}
    )


def bearer(realm: str, scope: str = "repository:a/b:pull") -> Reply:
    """A registry's 401 that names `realm`."""
    return Reply(401, b"{}", {"WWW-Authenticate": f'Bearer realm="{realm}",service="stage",scope="{scope}"'})


def replies(*script: Reply) -> Callable[[web.Request], Reply]:
    """One after the other, the last again and again."""
    rest = list(script)
    return lambda _: rest.pop(0) if len(rest) > 1 else rest[0]
