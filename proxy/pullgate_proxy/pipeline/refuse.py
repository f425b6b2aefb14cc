"""A fault -> status, reason phrase, headers and OCI body: the one place where an error becomes an answer.

The cause stands where the many clients look for it: in the body (docker, skopeo, crane, containerd >= 2.3.3), in the
reason phrase (every containerd, for HEAD and the token endpoint), and for a 401 in the challenge's `error`.
"""

from __future__ import annotations

import math

from aiohttp import web

from pullgate.faults import (
    MESSAGE_LIMIT,
    Fault,
    KeyMalformed,
    LoginRequired,
    TokenExpired,
    UpstreamUnauthorized,
    ascii_text,
)
from pullgate.oci.errors import encode_errors
from pullgate_proxy.request.parse import Kind, PullRequest

PHRASE_LIMIT = 150


def refuse(fault: Fault, request: PullRequest | None, realm: str, service: str, request_id: str) -> web.Response:
    """The response for `fault`; `realm` is the token endpoint's URL, named in the challenge of a 401."""
    headers = {"X-Request-Id": request_id, "Cache-Control": "no-store", "X-Pullgate-Reason": fault.reason}
    if fault.status == 401:
        headers["WWW-Authenticate"] = challenge(fault, request, realm, service)
    if fault.status == 405:
        headers["Allow"] = "GET, HEAD"
    if fault.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(fault.retry_after)))
    detail = {"reason": fault.reason, "hint": fault.hint, "ref": request_id}
    body = encode_errors(fault.code, _sentence(fault, request_id), detail)
    response = web.Response(
        status=fault.status,
        reason=f"{_STANDARD.get(fault.status, 'Error')}: {ascii_text(fault.message, PHRASE_LIMIT)}",
        body=body,
        headers=headers,
        content_type="application/json",
    )
    response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
    return response


def _sentence(fault: Fault, request_id: str) -> str:
    """The text of the body. By its reference the vendor finds the refusal of its credentials in the log."""
    if isinstance(fault, UpstreamUnauthorized):
        return f"{fault.sentence}; ref {request_id}"[:MESSAGE_LIMIT]
    return fault.sentence


def challenge(fault: Fault, request: PullRequest | None, realm: str, service: str) -> str:
    """Exactly one challenge, Bearer (with two, clients disagree on which one wins)."""
    parts = [f'realm="{realm}"', f'service="{service}"']
    if request is not None and request.kind not in {Kind.PING, Kind.TOKEN}:
        parts.append(f'scope="repository:{request.repository}:pull"')
    match fault:
        case LoginRequired():
            pass
        case TokenExpired():
            parts.append('error="invalid_token"')
        case KeyMalformed():
            parts.append(f'error="{ascii_text(fault.sentence)}"')
        case _:
            parts.append(f'error="{ascii_text(fault.message)}"')
    return "Bearer " + ",".join(parts)


_STANDARD = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
