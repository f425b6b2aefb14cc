"""How a scripted registry asks for credentials: Basic, or Bearer with a token endpoint of its own."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from dataclasses import dataclass, field

from tests.support.canaries import canary
from tests.support.content import Bytes
from tests.support.upstreams.docker_registry import Auth
from tests.support.upstreams.wire import Reply, Request

SERVICE = "scripted-registry"


@dataclass(slots=True)
class Login:
    """The login that may pull. The fields are switches that a test may turn."""

    auth: Auth
    username: str = ""
    password: str = field(default="", repr=False)
    realm: str | None = None
    """The challenge's realm; left out: /token of the registry itself."""
    tokens: set[str] = field(default_factory=set, repr=False)
    """The tokens that are taken; cleared, all have expired. Set it to TokenServer.issued to take that server's."""
    expires_in: int = 300
    """The `expires_in` of the answer; in fact a token serves until it is no longer in `tokens`."""

    def __post_init__(self) -> None:
        if self.auth != "none":
            self.username, self.password = "puller", canary("CANARY-scripted")

    def refusal(self, request: Request, repository: str, url: str) -> Reply | None:
        """401 with the challenge, or None if the request may pass."""
        given = request.headers.get("Authorization", "")
        if self.auth == "none" or (self.auth == "basic" and self._is_user(given)):
            return None
        if self.auth == "basic":
            return _unauthorized('Basic realm="scripted"')
        if given.startswith("Bearer ") and given.removeprefix("Bearer ") in self.tokens:
            return None
        challenge = f'Bearer realm="{self.realm or url + "/token"}",service="{SERVICE}"'
        if repository:
            challenge += f',scope="repository:{repository}:pull"'
        if given:
            challenge += ',error="invalid_token"'
        return _unauthorized(challenge)

    def answer_token(self, request: Request) -> Reply:
        """A token for a client that sends user and password: Basic on GET, a form on POST."""
        given = request.headers.get("Authorization", "")
        form = request.form
        by_form = (form.get("username"), form.get("password")) == (self.username, self.password)
        known = by_form if request.method == "POST" else self._is_user(given)
        if not known:
            return _unauthorized(None)
        token = canary(f"CANARY-{secrets.token_urlsafe(18)}")
        self.tokens.add(token)
        body = json.dumps({"token": token, "access_token": token, "expires_in": self.expires_in}).encode()
        return Reply(200, (("Content-Type", "application/json"),), Bytes(body))

    def _is_user(self, authorization: str) -> bool:
        scheme, _, encoded = authorization.partition(" ")
        try:
            pair = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return False
        return scheme.lower() == "basic" and pair == f"{self.username}:{self.password}"


def _unauthorized(challenge: str | None) -> Reply:
    headers = [("Content-Type", "application/json")]
    if challenge is not None:
        headers.append(("WWW-Authenticate", challenge))
    body = json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}).encode()
    return Reply(401, tuple(headers), Bytes(body))
