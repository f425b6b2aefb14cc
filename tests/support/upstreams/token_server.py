"""A token server (distribution's token specification, GET and OAuth2 POST); a real docker-registry takes its JWTs."""

from __future__ import annotations

import base64
import functools
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.support.canaries import canary

ISSUER = "pullgate-test-issuer"
SERVICE = "pullgate-test-registry"


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One request for a token, as it came."""

    method: str
    headers: Mapping[str, str] = field(repr=False)
    form: Mapping[str, str] = field(repr=False)
    """A POST's fields, else the query's (without scope)."""
    username: str
    """The user of Basic or of the form; empty if none was named."""
    scopes: tuple[str, ...]

    @property
    def authorization(self) -> str | None:
        """The Authorization header as it came."""
        return self.headers.get("Authorization")


class TokenServer:
    """Checks a user and a password and grants what is asked for. The attributes are switches that a test may turn."""

    def __init__(self, username: str = "puller", password: str = "CANARY-token", *, bind: str = "127.0.0.1") -> None:
        self.username = username
        self.password = canary(password)
        self.bind = bind
        self.host = ""
        """host:port, once it is started."""
        self.requests: list[TokenRequest] = []
        self.issued: set[str] = set()
        """Every token that was handed out."""
        self.answer_with: tuple[str, ...] = ("token", "access_token")
        """The fields of the answer that hold the token."""
        self.expires_in: int | None = 300
        """None leaves it out of the answer; the token then lives 60 s."""
        self.refresh_token: str | None = None
        """Handed out and accepted where it is set."""
        self.post_status: int | None = None
        """Refuse every POST with this status: 404, 405."""
        self.fail_status: int | None = None
        """Refuse every request with this status: 401, 403, 429, 500."""
        self.fail_headers: dict[str, str] = {}
        self.anonymous_pull = False
        """True: a client without a user may pull."""
        self.unreadable: set[str] = set()
        """Repositories for which nothing is granted: the token comes, but with less than what was asked for."""

    @property
    def realm(self) -> str:
        """The URL for a challenge."""
        return f"http://{self.host}/token"

    async def __aenter__(self) -> TokenServer:
        app = web.Application()
        app.router.add_get("/token", self._get)
        app.router.add_post("/token", self._post)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.bind, 0)
        await site.start()
        self.host = f"{self.bind}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def issue(self, scopes: tuple[str, ...], lifetime: int = 300, subject: str = "") -> str:
        """A signed token for `scopes` ("repository:NAME:pull,push")."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": SERVICE,
            "sub": subject or self.username,
            "iat": now - 10,
            "nbf": now - 10,
            "exp": now + lifetime,
            "jti": secrets.token_hex(8),
            "access": [self._grant(scope) for scope in scopes],
        }
        key, certificate = _signing_key()
        chain = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
        token = canary(jwt.encode(claims, key, algorithm="RS256", headers={"x5c": [chain]}))
        self.issued.add(token)
        return token

    def write_root_certificate(self, path: Path) -> None:
        """Write the certificate for docker-registry's `rootcertbundle` to `path`."""
        path.write_bytes(_signing_key()[1].public_bytes(serialization.Encoding.PEM))

    def _grant(self, scope: str) -> dict[str, object]:
        # A name may hold a port's colon: split on the first and the last one.
        kind, rest = scope.split(":", 1)
        name, _, actions = rest.rpartition(":")
        granted = [] if name in self.unreadable else actions.split(",")
        return {"type": kind, "name": name, "actions": granted}

    async def _get(self, request: web.Request) -> web.Response:
        username, password = _basic(request)
        form = {key: value for key, value in request.query.items() if key != "scope"}
        scopes = tuple(scope for value in request.query.getall("scope", []) for scope in value.split())
        self._record(request, form, username, scopes)
        wants_refresh = form.get("offline_token") == "true"
        return self._answer(self._knows(username, password), username, scopes, wants_refresh)

    async def _post(self, request: web.Request) -> web.Response:
        fields = await request.post()
        form = {key: str(value) for key, value in fields.items()}
        scopes = tuple(form.get("scope", "").split())
        username = form.get("username", "")
        self._record(request, form, username, scopes)
        if self.post_status is not None:
            return self._refusal(self.post_status)
        if form.get("grant_type") == "refresh_token":
            known = self.refresh_token is not None and form.get("refresh_token") == self.refresh_token
        else:
            known = form.get("grant_type") == "password" and self._knows(username, form.get("password", ""))
        return self._answer(known, username, scopes, wants_refresh=form.get("access_type") == "offline")

    def _record(self, request: web.Request, form: Mapping[str, str], username: str, scopes: tuple[str, ...]) -> None:
        self.requests.append(TokenRequest(request.method, request.headers.copy(), form, username, scopes))

    def _knows(self, username: str, password: str) -> bool:
        return (username, password) == (self.username, self.password)

    def _answer(self, known: bool, username: str, scopes: tuple[str, ...], wants_refresh: bool) -> web.Response:
        if self.fail_status is not None:
            return self._refusal(self.fail_status)
        if not known and not (self.anonymous_pull and not username):
            return self._refusal(401)
        if not known:
            scopes = tuple(scope for scope in scopes if scope.endswith(":pull"))
        lifetime = 60 if self.expires_in is None else self.expires_in
        body: dict[str, object] = dict.fromkeys(self.answer_with, self.issue(scopes, lifetime, username))
        if self.expires_in is not None:
            body["expires_in"] = self.expires_in
        if wants_refresh and self.refresh_token is not None:
            body["refresh_token"] = self.refresh_token
        return web.json_response(body)

    def _refusal(self, status: int) -> web.Response:
        code = {401: "UNAUTHORIZED", 403: "DENIED", 429: "TOOMANYREQUESTS"}.get(status, "UNKNOWN")
        body = {"errors": [{"code": code, "message": f"the token server answers {status}"}]}
        return web.json_response(body, status=status, headers=self.fail_headers)


def _basic(request: web.Request) -> tuple[str, str]:
    """User and password; empty if there are none."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        username, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return (username, password) if scheme.lower() == "basic" else ("", "")


@functools.cache
def _signing_key() -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    """One key for each process, with a certificate that is its own root (distribution 2.8 wants x5c up to a root)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return key, certificate
