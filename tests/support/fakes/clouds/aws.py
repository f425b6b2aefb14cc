"""AWS: moto for what goes well, and a scripted server for what AWS refuses (moto checks no signature by default)."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import parse_qsl

from aiohttp import web
from moto.server import ThreadedMotoServer

from tests.support.ports import free_port


@contextlib.contextmanager
def moto(port: int | None = None) -> Iterator[str]:
    """The URL of a moto server; what it holds outlives it in this process."""
    port = port or free_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to a service of AWS."""

    operation: str
    form: dict[str, str] = field(repr=False)
    authorization: str = field(repr=False)
    session: str = field(default="", repr=False)
    """The session token."""
    body: str = field(default="", repr=False)


class ScriptedAws:
    """ECR's JSON and STS' XML, one endpoint for all; metadata and pod credentials, too. Attributes are switches."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.tokens: list[str] = []
        """ECR's passwords, as they were given."""
        self.life = timedelta(hours=12)
        self.refuse: dict[str, tuple[int, str, str]] = {}
        """Operation -> status, code, message."""
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/", self._post)
        app.router.add_put("/latest/api/token", self._text("METADATA-SESSION"))
        app.router.add_get("/latest/meta-data/iam/security-credentials/", self._text("node-role"))
        app.router.add_get("/latest/meta-data/iam/security-credentials/node-role", self._instance)
        app.router.add_get("/pod", self._pod)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def _text(self, text: str) -> Any:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(text=text)

        return answer

    async def _instance(self, _: web.Request) -> web.Response:
        return web.json_response(
            {**_keys("INSTANCE"), "Token": "INSTANCE-SESSION", "Code": "Success", "Type": "AWS-HMAC"}
        )

    async def _pod(self, _: web.Request) -> web.Response:
        return web.json_response({**_keys("POD"), "Token": "POD-SESSION"})

    async def _post(self, request: web.Request) -> web.Response:
        target = request.headers.get("X-Amz-Target", "")
        body = (await request.read()).decode()
        form = dict(parse_qsl(body)) if not target else {}
        operation = target.rpartition(".")[2] or form.get("Action", "")
        authorization, session = (request.headers.get(n, "") for n in ("Authorization", "X-Amz-Security-Token"))
        self.asked.append(Asked(operation, form, authorization, session, body))
        if operation in self.refuse:
            status, code, message = self.refuse[operation]
            return _json_error(status, code, message) if target else _xml_error(status, code, message)
        if target:
            return self._authorization(target)
        return _assumed(operation)

    def _authorization(self, target: str) -> web.Response:
        password = f"ECR-{len(self.tokens) + 1}-" + "CANARY" + "x" * 40
        self.tokens.append(password)
        row = {
            "authorizationToken": base64.b64encode(f"AWS:{password}".encode()).decode(),
            "expiresAt": (datetime.now(UTC) + self.life).timestamp(),
        }
        body = {"authorizationData": row if "Spencer" in target else [row]}
        return web.json_response(body, content_type="application/x-amz-json-1.1")


def _keys(name: str) -> dict[str, str]:
    end = (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"AccessKeyId": f"ASIA{name}", "SecretAccessKey": f"{name}-CANARY", "Expiration": end}


def _json_error(status: int, code: str, message: str) -> web.Response:
    body = json.dumps({"__type": code, "message": message})
    return web.Response(status=status, text=body, content_type="application/x-amz-json-1.1")


def _xml_error(status: int, code: str, message: str) -> web.Response:
    inner = f"<Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>"
    text = f"<ErrorResponse><Error>{inner}</Error></ErrorResponse>"
    return web.Response(status=status, text=text, content_type="text/xml")


def _assumed(operation: str) -> web.Response:
    keys = _keys("ASSUMED")
    text = "".join(f"<{name}>{value}</{name}>" for name, value in keys.items())
    inner = f"<Credentials>{text}<SessionToken>ASSUMED-SESSION</SessionToken></Credentials>"
    body = f"<{operation}Response><{operation}Result>{inner}</{operation}Result></{operation}Response>"
    return web.Response(text=body, content_type="text/xml")
