"""A scripted proxy before the real API server: it counts writes, cuts connections at one of them, forgets watches."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import aiohttp
from aiohttp import web

from pullgate.tls_context import build_client_context
from tests.support.cluster.kubectl import Kubectl

When = Literal["before", "after"]
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})


@dataclass
class Cut:
    """The point at which the connection is cut."""

    write: int
    """The number of the write, from 1."""
    when: When
    """before: it never reached the server; after: it did, and the answer is lost."""


@dataclass
class Script:
    """The proxy's behaviour; may be changed while it runs."""

    cut: Cut | None = None
    conflicts: int = 0
    """So many patches are answered 409."""
    gone_watches: int = 0
    """So many watches are answered 410."""
    gone_events: int = 0
    """So many watches begin with an ERROR event of code 410."""
    writes: list[str] = field(default_factory=list)
    """Method and path of each write, those of the Lease left out."""
    was_cut: asyncio.Event = field(default_factory=asyncio.Event)


class ApiProxy:
    """`async with ApiProxy(cluster) as proxy`: plain HTTP on loopback, to the API server of `cluster`."""

    def __init__(self, cluster: Kubectl) -> None:
        self._config = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
        self._target = self._config["clusters"][0]["cluster"]["server"].rstrip("/")
        self.script = Script()
        self.port = 0
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        authority = self._config["clusters"][0]["cluster"]["certificate-authority-data"]
        import base64

        context = build_client_context(base64.b64decode(authority).decode())
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, connect=5)
        self._session = await self._stack.enter_async_context(
            aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        )
        runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def kubeconfig(self, path: Path, token: str) -> Path:
        """A kubeconfig with `token` and this proxy's address."""
        document: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path.write_text(json.dumps(document))
        return path

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._handle(request)
        except ConnectionError:  # the connection was dropped, or the client left: no traceback for that
            return web.Response()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        script, watching = self.script, "watch=true" in request.raw_path or "watch=1" in request.raw_path
        if watching and (answer := await self._forget(request)) is not None:
            return answer
        cut = self._note(request)
        if cut is not None and cut.when == "before":
            return self._drop(request)
        if request.method == "PATCH" and script.conflicts > 0:
            script.conflicts -= 1
            return _status(409, "Conflict", "somebody else changed it")
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        url = self._target + request.raw_path
        async with self._session.request(request.method, url, headers=headers, data=body or None) as answer_:
            if cut is not None:
                await answer_.read()
                return self._drop(request)
            kept = {name: value for name, value in answer_.headers.items() if name.lower() not in _HOP}
            response = web.StreamResponse(status=answer_.status, headers=kept)
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):
                async for chunk in answer_.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
            return response

    def _note(self, request: web.BaseRequest) -> Cut | None:
        script = self.script
        if request.method == "GET" or "/leases" in request.path:
            return None
        script.writes.append(f"{request.method} {request.path}")
        cut = script.cut
        return cut if cut is not None and cut.write == len(script.writes) else None

    def _drop(self, request: web.BaseRequest) -> web.StreamResponse:
        """Drop the connection without an answer: the test kills the client now."""
        self.script.was_cut.set()
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError

    async def _forget(self, request: web.BaseRequest) -> web.StreamResponse | None:
        script = self.script
        if script.gone_watches > 0:
            script.gone_watches -= 1
            return _status(410, "Expired", "too old resource version")
        if script.gone_events > 0:
            script.gone_events -= 1
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            event = {"type": "ERROR", "object": _body(410, "Expired", "too old resource version")}
            await response.write(json.dumps(event).encode() + b"\n")
            await response.write_eof()
            return response
        return None


def _body(code: int, reason: str, message: str) -> dict[str, Any]:
    head = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return {**head, "message": message, "reason": reason, "code": code}


def _status(code: int, reason: str, message: str) -> web.Response:
    return web.json_response(_body(code, reason, message), status=code)
