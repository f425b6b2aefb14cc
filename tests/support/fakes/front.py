"""A provider's login and its quirks, in front of a real docker-registry that holds the images."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
import jwt
from aiohttp import web

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Flavour:
    """What one provider does, from its public documentation and the shape of its answers."""

    name: str
    scheme: str = "bearer"
    """bearer, or basic."""
    token_path: str = "/token"
    service: str = "registry.example"
    own_token_server: bool = True
    """False: the tokens are given at another address (GitLab, Docker Hub, DigitalOcean)."""
    post_status: int | None = None
    """What a POST to the token server is answered; None: it works, too."""
    wrong: tuple[int, dict[str, Any]] = (401, {"errors": [{"code": "UNAUTHORIZED", "message": "incorrect login"}]})
    """What a wrong secret is answered, by the token server or (Basic) by the registry."""
    expired: tuple[int, dict[str, Any], bool] = (
        401,
        {"errors": [{"code": "UNAUTHORIZED", "message": "expired"}]},
        True,
    )
    """What a token that is over is answered, and whether with a challenge."""
    denied: tuple[int, dict[str, Any]] = (401, {"errors": [{"code": "UNAUTHORIZED", "message": "access denied"}]})
    """What a repository that may not be read is answered."""
    limited: tuple[int, dict[str, Any]] = (429, {"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]})
    rate_headers: dict[str, str] = field(default_factory=dict)
    """Of manifests."""
    expires_in: int = 300
    token_field: str = "token"
    head_digest: bool = True
    """Whether HEAD of a manifest tells its digest."""
    head_status: int | None = None
    """What HEAD of a manifest is answered where it does not work."""
    redirects_blobs: bool = False
    """Whether blobs are at another address that refuses an Authorization header."""
    index_needs_accept: bool = False
    prefix: str = ""
    """What stands before a repository's name; without it there is no such repository."""
    address: str = "127.0.0.1"
    """Where the registry listens: another one than the token server's stands for another name."""


class Front:
    """One provider. The attributes are switches that a test may turn while it runs."""

    def __init__(self, flavour: Flavour, upstream: str, tls: ssl.SSLContext | None = None) -> None:
        """`upstream` is http://host:port of a docker-registry without a login."""
        self.flavour, self._upstream, self._tls = flavour, upstream, tls
        self.accepted: set[tuple[str, str]] = set()
        self.takes: Callable[[str, str], bool] = lambda user, password: (user, password) in self.accepted
        self.may: Callable[[str, str], bool] = lambda user, repository: True
        """Whether the user may read the repository."""
        self.logins: list[tuple[str, str]] = []
        """Every user and password that was shown."""
        self.tokens: dict[str, bool] = {}
        """Bearer tokens, and whether they still serve."""
        self.reads: set[tuple[str, str]] = set()
        """User and repository of every request for an image, let in or not."""
        self.owners: dict[str, str] = {}
        """Bearer token -> the user whom it was given."""
        self.over: set[str] = set()
        """Basic passwords that have expired."""
        self.denied: set[str] = set()
        self.retry_after: str | None = None
        """Set: everything is limited."""
        self.cut_after: int | None = None
        """Bytes of the next blob after which the connection breaks."""
        self.expire_at_the_cut = False
        self.before_the_cut: Callable[[], Awaitable[None]] = _at_once
        """Waited for while the body hangs, before it breaks."""
        self.expire_after: int | None = None
        """Bytes of the next blob after which everything that was given is over; the bytes go on."""
        self.asked: list[tuple[str, str]] = []
        """Method and path."""
        self.host = ""
        self.token_host = ""
        self.store_host = ""
        """Where blobs are redirected to."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application()
        app.router.add_route("*", self.flavour.token_path, self._token)
        app.router.add_post("/oauth2/exchange", self._exchange)
        app.router.add_route("*", "/v2/{rest:.*}", self._registry)
        app.router.add_get("/blob/{rest:.*}", self._stored)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        for address in (self.flavour.address, "127.0.0.1", "127.0.0.1"):
            await web.TCPSite(self._runner, address, 0, ssl_context=self._tls).start()
        self.host, self.token_host, self.store_host = (f"{a[0]}:{a[1]}" for a in self._runner.addresses)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._runner.cleanup()

    # --- switches ---

    def accept(self, user: str, password: str) -> None:
        """Let these credentials in."""
        self.accepted.add((user, password))

    def revoke(self) -> None:
        """No credentials and no token serve any more."""
        self.takes = lambda user, password: False
        self.tokens.clear()

    def expire(self) -> None:
        """Every token that was given is over; a Basic password, too."""
        self.tokens = dict.fromkeys(self.tokens, False)
        self.over |= {password for _, password in self.accepted}

    @property
    def scheme(self) -> str:
        """http or https."""
        return "https" if self._tls is not None else "http"

    @property
    def realm(self) -> str:
        """Of the challenge."""
        host = self.host if self.flavour.own_token_server else self.token_host
        return f"{self.scheme}://{host}{self.flavour.token_path}"

    # --- the token server ---

    async def _token(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path))
        form = dict(await request.post()) if request.method == "POST" else {}
        if request.method == "POST" and self.flavour.post_status is not None:
            return web.Response(status=self.flavour.post_status)
        user, password = _basic(request.headers.get("Authorization", ""))
        if request.method == "POST":
            user, password = str(form.get("username", "")), str(form.get("password", ""))
        self.logins.append((user, password))
        if self.retry_after is not None:
            return self._limited()
        if not self.takes(user, password):
            return _answer(*self.flavour.wrong)
        token = f"CANARY-{secrets.token_urlsafe(18)}"
        self.tokens[token] = True
        self.owners[token] = user
        return web.json_response({self.flavour.token_field: token, "expires_in": self.flavour.expires_in})

    async def _exchange(self, request: web.Request) -> web.Response:
        """ACR: an access token of Entra ID for a refresh token."""
        form = await request.post()
        if form.get("access_token") != "ENTRA-ACCESS":
            return _answer(*self.flavour.wrong)
        end = int(time.time()) + 3 * 3600
        refresh = jwt.encode({"exp": end, "jti": secrets.token_hex(8)}, "x" * 32, algorithm="HS256")
        self.accept("00000000-0000-0000-0000-000000000000", refresh)
        return web.json_response({"refresh_token": refresh})

    # --- the registry ---

    async def _registry(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path))
        rest = request.match_info["rest"]
        repository = rest.rpartition("/")[0].rpartition("/")[0] if "/" in rest else ""
        refusal = self._refusal(request, repository)
        if refusal is not None:
            return refusal
        if not rest:
            return web.json_response({})
        if self.retry_after is not None:
            return self._limited()
        user = self._user_of(request)
        self.reads.add((user, repository))
        if repository in self.denied or not self.may(user, repository):
            return _answer(*self.flavour.denied, self._challenge(repository, "insufficient_scope"))
        if not repository.startswith(self.flavour.prefix):
            return _answer(404, {"errors": [{"code": "NAME_UNKNOWN", "message": "repository name not known"}]})
        path = request.path.replace(f"/v2/{self.flavour.prefix}", "/v2/", 1)
        if "/blobs/" in path and self.flavour.redirects_blobs:
            where = f"{self.scheme}://{self.store_host}/blob{path}?X-Amz-Signature=signed"
            return web.Response(status=307, headers={"Location": where})
        return await self._pass(request, path)

    def _user_of(self, request: web.Request) -> str:
        given = request.headers.get("Authorization", "")
        if given.startswith("Bearer "):
            return self.owners.get(given.removeprefix("Bearer "), "")
        return _basic(given)[0]

    def _refusal(self, request: web.Request, repository: str) -> web.Response | None:
        given = request.headers.get("Authorization", "")
        flavour = self.flavour
        if flavour.scheme == "basic":
            user, password = _basic(given)
            if not given:
                return _answer(401, flavour.wrong[1], {"WWW-Authenticate": f'Basic realm="{flavour.name}"'})
            self.logins.append((user, password))
            if password in self.over:
                return self._expired(repository)
            return None if self.takes(user, password) else _answer(*flavour.wrong)
        serves = self.tokens.get(given.removeprefix("Bearer ")) if given.startswith("Bearer ") else None
        if serves:
            return None
        if serves is False:
            return self._expired(repository)
        return _answer(401, flavour.expired[1], self._challenge(repository))

    def _expired(self, repository: str) -> web.Response:
        status, body, challenged = self.flavour.expired
        return _answer(status, body, self._challenge(repository, "invalid_token") if challenged else None)

    def _challenge(self, repository: str, error: str = "") -> dict[str, str]:
        if self.flavour.scheme == "basic":
            return {}
        text = f'Bearer realm="{self.realm}",service="{self.flavour.service}"'
        text += f',scope="repository:{repository}:pull"' if repository else ""
        return {"WWW-Authenticate": text + (f',error="{error}"' if error else "")}

    def _limited(self) -> web.Response:
        return _answer(*self.flavour.limited, {"Retry-After": self.retry_after or "", **self.flavour.rate_headers})

    async def _stored(self, request: web.Request) -> web.StreamResponse:
        """The store of signed URLs, as S3: two sorts of credentials at once are an error."""
        if "Authorization" in request.headers:
            return web.Response(status=400, text="Only one auth mechanism allowed")
        return await self._pass(request, request.path.removeprefix("/blob"))

    async def _pass(self, request: web.Request, path: str) -> web.StreamResponse:
        manifest = "/manifests/" in path
        if manifest and request.method == "HEAD" and self.flavour.head_status is not None:
            return web.Response(status=self.flavour.head_status)
        wanted = {name: request.headers[name] for name in ("Accept", "Range") if name in request.headers}
        async with self._session.request(request.method, self._upstream + path, headers=wanted) as found:
            is_index = manifest and "image.index" in found.headers.get("Content-Type", "")
            if is_index and self.flavour.index_needs_accept and "image.index" not in wanted.get("Accept", ""):
                return _answer(404, {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "OCI index found"}]})
            kept = ("Content-Type", "Content-Length", "Content-Range", "Docker-Content-Digest", "Accept-Ranges")
            headers = {name: found.headers[name] for name in kept if name in found.headers}
            if manifest:
                headers |= self.flavour.rate_headers
                if request.method == "HEAD" and not self.flavour.head_digest:
                    headers.pop("Docker-Content-Digest", None)
            answer = web.StreamResponse(status=found.status, headers=headers)
            await answer.prepare(request)
            if request.method != "HEAD":
                await self._copy(request, found, answer, is_blob="/blobs/" in path)
            return answer

    async def _copy(
        self, request: web.Request, found: aiohttp.ClientResponse, answer: web.StreamResponse, *, is_blob: bool
    ) -> None:
        sent = 0
        async for data in found.content.iter_chunked(16 * 1024):
            await answer.write(data)
            sent += len(data)
            if is_blob and self.expire_after is not None and sent >= self.expire_after:
                self.expire_after = None
                self.expire()
            if is_blob and self.cut_after is not None and sent >= self.cut_after:
                self.cut_after = None
                await self.before_the_cut()
                if self.expire_at_the_cut:
                    self.expire()
                if request.transport is not None:
                    request.transport.abort()
                return


async def _at_once() -> None:
    pass


def _basic(header: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(header.removeprefix("Basic "), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    user, _, password = text.partition(":")
    return user, password


def _answer(status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=json.dumps(body), content_type=JSON, headers=headers)
