"""Entra ID, ACR's exchange, GitHub's and Google's APIs over TLS, scripted from their documentation."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import jwt
from aiohttp import web
from multidict import CIMultiDict

from tests.support.fakes.clouds.tunnel import Tunnel
from tests.support.tls import Authority

NAMES = (
    "login.microsoftonline.com",
    "login.chinacloudapi.cn",
    "sts.googleapis.com",
    "iamcredentials.googleapis.com",
    "api.github.com",
    "localhost",
    "127.0.0.1",
)
_SIGNING = "clouds-of-this-test-" + "x" * 32


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    path: str
    headers: dict[str, str] = field(repr=False)
    form: dict[str, Any] = field(repr=False)
    query: dict[str, str] = field(default_factory=dict, repr=False)


class ScriptedClouds:
    """One server for all; `refuse` maps a part of a path to status, body and headers."""

    def __init__(self) -> None:
        self.authority = Authority()
        self.asked: list[Asked] = []
        self.refuse: dict[str, tuple[int, dict[str, Any], dict[str, str]]] = {}
        self.issued: list[str] = []
        """The last tokens of each way: refresh tokens of ACR, tokens of GitHub, access tokens of Google."""
        self.life = timedelta(hours=1)
        self.host = ""
        """127.0.0.1:PORT, by TLS."""
        self.service = ""
        """The `service` in the challenge of the registry of Azure, if it is not the host that was asked."""
        self.tunnel: Tunnel | None = None
        """The egress proxy that leads here."""
        self.metadata = ""
        """127.0.0.1:PORT of Google's metadata server, without TLS."""

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._note])
        app.router.add_get("/common/discovery/instance", self._instance)
        app.router.add_get("/{tenant}/v2.0/.well-known/openid-configuration", self._configuration)
        app.router.add_post("/{tenant}/oauth2/v2.0/token", self._entra_token)
        app.router.add_get("/v2/", self._acr_challenge)
        app.router.add_post("/oauth2/exchange", self._acr)
        app.router.add_post("/app/installations/{id}/access_tokens", self._github)
        app.router.add_post("/v1/token", self._sts)
        app.router.add_post("/v1/projects/-/serviceAccounts/{account}", self._impersonate)
        app.router.add_get("/", self._metadata_root)
        app.router.add_get("/computeMetadata/v1/{rest:.*}", self._metadata_token)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.authority.server(NAMES)).start()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.host, self.metadata = (f"127.0.0.1:{address[1]}" for address in self._runner.addresses)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @web.middleware
    async def _note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        json_body = request.content_type == "application/json" and request.can_read_body
        form = await request.json() if json_body else dict(await request.post())
        self.asked.append(Asked(request.path, dict(request.headers), form, dict(request.query)))
        for part, (status, body, headers) in self.refuse.items():
            if part in request.path:
                return web.json_response(body, status=status, headers=headers)
        answered: web.StreamResponse = await handler(request)
        return answered

    def of(self, part: str) -> list[Asked]:
        """The requests whose path has `part`."""
        return [each for each in self.asked if part in each.path]

    def _give(self, prefix: str) -> str:
        token = f"{prefix}-{len(self.issued) + 1}-" + "CANARY" + "t" * 20
        self.issued.append(token)
        return token

    # --- Microsoft ---

    async def _instance(self, request: web.Request) -> web.Response:
        where = "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration"
        row = {
            "preferred_network": "login.microsoftonline.com",
            "preferred_cache": "login.windows.net",
            "aliases": ["login.microsoftonline.com"],
        }
        return web.json_response({"tenant_discovery_endpoint": where, "api-version": "1.1", "metadata": [row]})

    async def _configuration(self, request: web.Request) -> web.Response:
        tenant = request.match_info["tenant"]
        base = f"https://{request.host}/{tenant}"
        body = {
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "issuer": f"{base}/v2.0",
        }
        return web.json_response(body)

    async def _entra_token(self, _: web.Request) -> web.Response:
        return web.json_response({"token_type": "Bearer", "expires_in": 3600, "access_token": "ENTRA-ACCESS"})

    async def _acr_challenge(self, request: web.Request) -> web.Response:
        """ACR, to a request without a token; with a custom domain `service` is NAME.azurecr.io [AAD-OAuth.md]."""
        service = self.service or request.host
        challenge = f'Bearer realm="https://{request.host}/oauth2/token",service="{service}"'
        lines = CIMultiDict([("WWW-Authenticate", challenge), ("WWW-Authenticate", 'Basic realm="acr"')])
        return web.json_response({"errors": []}, status=401, headers=lines)

    async def _acr(self, _: web.Request) -> web.Response:
        end = int(time.time() + 3 * 3600)
        token = jwt.encode({"exp": end, "n": len(self.issued)}, _SIGNING, algorithm="HS256")
        self.issued.append(token)
        return web.json_response({"refresh_token": token})

    # --- GitHub ---

    async def _github(self, _: web.Request) -> web.Response:
        end = (datetime.now(UTC) + self.life).strftime("%Y-%m-%dT%H:%M:%SZ")
        return web.json_response({"token": self._give("ghs"), "expires_at": end}, status=201)

    # --- Google ---

    async def _sts(self, _: web.Request) -> web.Response:
        body = {
            "access_token": self._give("sts"),
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": 3600,
        }
        return web.json_response(body)

    async def _impersonate(self, _: web.Request) -> web.Response:
        end = (datetime.now(UTC) + self.life).strftime("%Y-%m-%dT%H:%M:%SZ")
        return web.json_response({"accessToken": self._give("ya29"), "expireTime": end})

    async def _metadata_root(self, _: web.Request) -> web.Response:
        return web.Response(text="computeMetadata/\n", headers={"Metadata-Flavor": "Google"})

    async def _metadata_token(self, request: web.Request) -> web.Response:
        headers = {"Metadata-Flavor": "Google"}
        rest = request.match_info["rest"]
        if rest == "project/project-id":
            return web.Response(text="my-project", headers=headers)
        if rest.endswith("/token"):
            body: dict[str, Any] = {"access_token": self._give("gke"), "expires_in": 3600, "token_type": "Bearer"}
        elif rest == "universe/universe-domain" or rest == "universe/universe_domain":
            return web.Response(text="googleapis.com", headers=headers)
        else:
            body = {
                "email": "node@my-project.iam.gserviceaccount.com",
                "scopes": ["cloud-platform"],
                "aliases": ["default"],
            }
        return web.json_response(body, headers=headers)
