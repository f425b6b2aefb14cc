"""A provider's login and its quirks, in front of a real docker-registry that holds the images."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import urlencode

import aiohttp
import jwt
from aiohttp import web

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Flavour:
    """The behaviour of one provider, from its public documentation and the shape of its answers."""

    name: str
    scheme: str = "bearer"
    """bearer, or basic."""
    token_path: str = "/token"
    service: str = "registry.example"
    own_token_server: bool = True
    """False: the tokens are given at another address (GitLab, Docker Hub, DigitalOcean)."""
    post_status: int | None = None
    """The answer's status to a POST to the token server; None: it works, too."""
    wrong: tuple[int, dict[str, Any]] = (401, {"errors": [{"code": "UNAUTHORIZED", "message": "incorrect login"}]})
    """The answer to a wrong secret, by the token server or (Basic) by the registry."""
    expired: tuple[int, dict[str, Any], bool] = (
        401,
        {"errors": [{"code": "UNAUTHORIZED", "message": "expired"}]},
        True,
    )
    """The answer to an expired token, and True if it has a challenge."""
    denied: tuple[int, dict[str, Any]] = (401, {"errors": [{"code": "UNAUTHORIZED", "message": "access denied"}]})
    """The answer to a good login that may not read the repository."""
    denied_at: Literal["registry", "token server"] = "registry"
    """The server that refuses such a login."""
    denied_challenge: Literal["none", "bearer", "insufficient scope", "basic"] = "none"
    """The challenge beside it, if the registry refuses."""
    unknown: tuple[int, dict[str, Any]] | None = None
    """The answer for a repository that is not there; None: 404 NAME_UNKNOWN."""
    basic_realm: str = ""
    """Basic is taken at the registry, too, and its challenge answers every request that sent an Authorization."""
    strangers_get_tokens: bool = False
    """A wrong login that asks for a scope gets a token without access; only a scope-less request is refused."""
    challenge_scope: str = ""
    """The scope of every challenge; empty: that of the repository."""
    tags_action: str = "pull"
    """The action that a list of tags needs in a token."""
    checks_actions: bool = False
    """True: a token without the needed action is refused, and a challenge names that action."""
    realm_has_scope: bool = False
    """True: the realm carries `?scope=…`, instead of a parameter of the challenge."""
    ban_after: int | None = None
    """Failed logins after which the address is banned."""
    head_blob_status: int | None = None
    """The answer to HEAD of a blob, if it does not work."""
    last_status: int | None = None
    """The answer to tags/list?last=, if it does not work."""
    referrers_status: int | None = None
    """The answer to a request for referrers, if there is no such API."""
    limited: tuple[int, dict[str, Any]] = (429, {"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]})
    rate_headers: dict[str, str] = field(default_factory=dict)
    """Headers of answers with manifests, and of 429."""
    expires_in: int = 300
    token_field: str = "token"
    head_digest: bool = True
    """True: the answer to HEAD of a manifest has its digest."""
    head_status: int | None = None
    """The answer's status to HEAD of a manifest, if it does not work."""
    redirects_blobs: bool = False
    """True: blobs are at another address, which refuses an Authorization header."""
    index_needs_accept: bool = False
    prefix: str = ""
    """The prefix of every repository's name; without it there is no such repository."""
    address: str = "127.0.0.1"
    """The registry's address; if it differs from the token server's, it stands for another name."""


class Front:
    """One provider. The attributes are switches that a test may turn while it runs."""

    def __init__(self, flavour: Flavour, upstream: str, tls: ssl.SSLContext | None = None, name: str = "") -> None:
        """`upstream` is http://host:port of a docker-registry without a login; `name` that of the real service."""
        self.flavour, self._upstream, self._tls, self.name = flavour, upstream, tls, name
        self.accepted: set[tuple[str, str]] = set()
        self.takes: Callable[[str, str], bool] = lambda user, password: (user, password) in self.accepted
        self.may: Callable[[str, str], bool] = lambda user, repository: True
        """Returns True if the user may read the repository."""
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
        self.granted: dict[str, frozenset[str]] = {}
        """Bearer token -> `REPOSITORY:ACTION` that it may use."""
        self.failed_logins = 0
        self.refused: dict[str, tuple[int, str, str]] = {}
        """Part of a path ("" is every path) -> status, code and sentence of a policy that refuses it."""
        self.page: str | None = None
        """Set: HTML with which every request is answered (another program's port)."""
        self.locked_out = False
        """The token server answers 429 to every login."""
        self.first_byte_delay = 0.0
        """Seconds before a blob begins."""
        self.retry_after: str | None = None
        """Set: the registry limits every request for an image. "" is a 429 without Retry-After."""
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
        """The host:port that blobs are redirected to."""

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
        """The challenge's realm."""
        host = (self.name or self.host) if self.flavour.own_token_server else self.token_host
        return f"{self.scheme}://{host}{self.flavour.token_path}"

    # --- the token server ---

    async def _token(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path))
        form = dict(await request.post()) if request.method == "POST" else {}
        if request.method == "POST" and self.flavour.post_status is not None:
            return web.Response(status=self.flavour.post_status)
        user, password = _basic(request.headers.get("Authorization", ""))
        if request.method == "POST":
            user, password = str(form.get("username", "")), str(form.get("password", ""))
        self.logins.append((user, password))
        scopes = [
            s for value in (*request.query.getall("scope", []), str(form.get("scope", ""))) for s in value.split()
        ]
        refusal = self._login_refusal(request, user, password, scopes)
        if refusal is not None:
            return refusal
        token = f"CANARY-{secrets.token_urlsafe(18)}"
        self.tokens[token] = True
        self.owners[token] = user if self.takes(user, password) else ""
        self.granted[token] = frozenset(grant for scope in scopes for grant in _grants(scope))
        return web.json_response({self.flavour.token_field: token, "expires_in": self.flavour.expires_in})

    def _login_refusal(
        self, request: web.Request, user: str, password: str, scopes: list[str]
    ) -> web.StreamResponse | None:
        """The refusal of the token server, in the order in which it looks."""
        flavour = self.flavour
        policy = self._policy(request.path)
        if policy is not None:
            return policy
        known = self.takes(user, password)
        self.failed_logins += not known
        if flavour.ban_after is not None and self.failed_logins > flavour.ban_after:
            return web.Response(status=403, text="Forbidden\n")
        if self.locked_out:
            return _answer(*flavour.limited)
        if not known:
            return None if flavour.strangers_get_tokens and scopes else _answer(*flavour.wrong)
        names = {grant.rpartition(":")[0] for scope in scopes for grant in _grants(scope)}
        if flavour.denied_at == "token server" and any(not self._reads(user, name) for name in names):
            return _answer(*flavour.denied)
        return None

    def _reads(self, user: str, repository: str) -> bool:
        return bool(user) and repository not in self.denied and self.may(user, repository)

    def _policy(self, path: str) -> web.StreamResponse | None:
        if self.page is not None:
            return web.Response(text=self.page, content_type="text/html")
        for part, (status, code, sentence) in self.refused.items():
            if part in path:
                return _answer(status, {"errors": [{"code": code, "message": sentence}]})
        return None

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
        refusal = self._policy(request.path) or self._refusal(request, repository, rest)
        if refusal is not None:
            return refusal
        if not rest:
            return web.json_response({})
        if self.retry_after is not None:
            return self._limited()
        user = self._user_of(request)
        self.reads.add((user, repository))
        if not self._reads(user, repository):
            return _answer(*self.flavour.denied, self._denied_challenge(repository))
        if not repository.startswith(self.flavour.prefix):
            return self._unknown(repository)
        unsupported = self._unsupported(request, rest)
        if unsupported is not None:
            return web.Response(status=unsupported, headers=self._challenge(repository) if unsupported == 401 else None)
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

    def _unsupported(self, request: web.Request, rest: str) -> int | None:
        """The status of a request that this provider does not serve."""
        if "/blobs/" in rest and request.method == "HEAD":
            return self.flavour.head_blob_status
        if rest.endswith("/tags/list") and "last" in request.query:
            return self.flavour.last_status
        return self.flavour.referrers_status if "/referrers/" in rest else None

    def _unknown(self, repository: str) -> web.Response:
        if self.flavour.unknown is not None:
            return _answer(*self.flavour.unknown, self._denied_challenge(repository))
        return _answer(404, {"errors": [{"code": "NAME_UNKNOWN", "message": "repository name not known"}]})

    def _denied_challenge(self, repository: str) -> dict[str, str]:
        match self.flavour.denied_challenge:
            case "basic":
                return {"WWW-Authenticate": f'Basic realm="{self.flavour.basic_realm}"'}
            case "bearer":
                return self._challenge(repository)
            case "insufficient scope":
                return self._challenge(repository, "insufficient_scope")
        return {}

    def _refusal(self, request: web.Request, repository: str, rest: str) -> web.Response | None:
        given = request.headers.get("Authorization", "")
        flavour = self.flavour
        if flavour.basic_realm and given.startswith("Basic "):
            user, password = _basic(given)
            self.logins.append((user, password))
            return None if self.takes(user, password) else self._expired(repository)
        if flavour.scheme == "basic":
            user, password = _basic(given)
            if not given:
                return _answer(401, flavour.wrong[1], {"WWW-Authenticate": f'Basic realm="{flavour.name}"'})
            self.logins.append((user, password))
            if password in self.over:
                return self._expired(repository)
            return None if self.takes(user, password) else _answer(*flavour.wrong)
        token = given.removeprefix("Bearer ") if given.startswith("Bearer ") else ""
        serves = self.tokens.get(token)
        action = flavour.tags_action if rest.endswith("/tags/list") else "pull"
        if serves and flavour.checks_actions and repository and f"{repository}:{action}" not in self.granted[token]:
            return _answer(401, flavour.expired[1], self._challenge(repository, "insufficient_scope", action))
        if serves:
            return None
        if serves is False or (given and flavour.basic_realm):
            return self._expired(repository)
        return _answer(401, flavour.expired[1], self._challenge(repository, action=action))

    def _expired(self, repository: str) -> web.Response:
        status, body, challenged = self.flavour.expired
        if self.flavour.basic_realm:
            return _answer(status, body, {"WWW-Authenticate": f'Basic realm="{self.flavour.basic_realm}"'})
        return _answer(status, body, self._challenge(repository, "invalid_token") if challenged else None)

    def _challenge(self, repository: str, error: str = "", action: str = "pull") -> dict[str, str]:
        flavour = self.flavour
        if flavour.scheme == "basic":
            return {}
        scope = flavour.challenge_scope or (f"repository:{repository}:{action}" if repository else "")
        in_realm = f"?{urlencode({'scope': scope})}" if scope and flavour.realm_has_scope else ""
        text = f'Bearer realm="{self.realm}{in_realm}"'
        text += f',service="{flavour.service}"' if flavour.service else ""
        text += f',scope="{scope}"' if scope and not flavour.realm_has_scope else ""
        return {"WWW-Authenticate": text + (f',error="{error}"' if error else "")}

    def _limited(self) -> web.Response:
        after = {"Retry-After": self.retry_after} if self.retry_after else {}
        return _answer(*self.flavour.limited, {**after, **self.flavour.rate_headers})

    async def _stored(self, request: web.Request) -> web.StreamResponse:
        """The store of signed URLs, as S3: two sorts of credentials at once are an error."""
        if "Authorization" in request.headers:
            return web.Response(status=400, text="Only one auth mechanism allowed")
        return await self._pass(request, request.path.removeprefix("/blob"))

    async def _pass(self, request: web.Request, path: str) -> web.StreamResponse:
        manifest = "/manifests/" in path
        if "/blobs/" in path and self.first_byte_delay:
            await asyncio.sleep(self.first_byte_delay)
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


def _grants(scope: str) -> list[str]:
    """`repository:NAME:ACTION,ACTION` as NAME:ACTION each; nothing for another form ("aws")."""
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    return [f"{name}:{action}" for action in actions.split(",")] if kind == "repository" and name else []


def _basic(header: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(header.removeprefix("Basic "), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    user, _, password = text.partition(":")
    return user, password


def _answer(status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=json.dumps(body), content_type=JSON, headers=headers)
