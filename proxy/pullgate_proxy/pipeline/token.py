"""The token endpoint, GET and POST (distribution's token and oauth2 specifications).

It says who you are, never what you may pull: clients hide the body of a refused repository token, so that a refusal
of a repository waits for the manifest, where every client shows it. A login (no scope) is refused here, in words.
"""

from __future__ import annotations

import json
from urllib.parse import parse_qsl

from pullgate.faults import Fault, LoginRequired, PathInvalid
from pullgate_proxy.pipeline.authenticate import find_key, read_basic, read_key, require_valid
from pullgate_proxy.state.snapshot import Snapshot
from pullgate_proxy.state.tokens import LIFETIME

BODY_LIMIT = 16 * 1024
SCOPE_LIMIT = 32


class TokenForm:
    """The scopes and the credentials of a token request, from its query or its form."""

    __slots__ = ("grant_type", "password", "scopes", "username")

    def __init__(self, encoded: str) -> None:
        """Read a query (GET: `scope` repeats) or a form (POST: one `scope`, joined by spaces)."""
        try:
            fields = parse_qsl(encoded, max_num_fields=64)
        except ValueError as error:
            raise PathInvalid("the token request has too many fields") from error
        values = dict(fields)
        self.scopes = [scope for name, value in fields if name == "scope" for scope in value.split()][:SCOPE_LIMIT]
        self.grant_type = values.get("grant_type", "password")
        self.username = values.get("username", "")
        self.password = values.get("password", "")


def answer_token(form: TokenForm, authorization: str | None, snapshot: Snapshot, now: float) -> bytes:
    """The token response's JSON.

    No refresh_token (docker would store it) and no issued_at (clients compare it with their own clock). Raises
    LoginRequired, KeyMalformed; for a login also KeyUnknown, KeyRevoked, KeyRotated and the License faults, all as 401.
    """
    if form.grant_type != "password":
        raise LoginRequired
    digest = _read_digest(form, authorization)
    if not form.scopes:
        _check_login(digest, snapshot, now)
    token = snapshot.signing_keys.issue(digest, now)
    body: dict[str, object] = {"token": token, "access_token": token, "expires_in": LIFETIME, "token_type": "Bearer"}
    granted = [scope for scope in map(grant_pull, form.scopes) if scope]
    if granted:
        body["scope"] = " ".join(granted)
    return json.dumps(body).encode()


def grant_pull(scope: str) -> str:
    """`scope` cut to what is granted: a repository's pull. The name may hold a colon: split on the first and last."""
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    return f"repository:{name}:pull" if kind == "repository" and name and "pull" in actions.split(",") else ""


def _read_digest(form: TokenForm, authorization: str | None) -> bytes:
    if form.password:
        return read_key(form.password)
    if authorization and authorization[:6].lower() == "basic ":
        return read_key(read_basic(authorization[6:].strip())[1])
    raise LoginRequired


def _check_login(digest: bytes, snapshot: Snapshot, now: float) -> None:
    try:
        require_valid(find_key(digest, snapshot, None), now)
    except Fault as fault:
        fault.turn_into_login_refusal()
        raise
