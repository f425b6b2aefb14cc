"""An upstream's status as a fault: whose move it is, by what was asked and what was said."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from typing import Final

from pullgate import faults
from pullgate.oci.accept import takes_oci
from pullgate.oci.errors import decode_detail, decode_errors
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.ratelimit import seconds_of
from pullgate.upstream.request import UpstreamRequest, UpstreamResponse

ERROR_LIMIT = 8 * 1024
"""Bytes of an error's body that are read; the rest is not (CVE-2020-1702)."""

ERROR_SECONDS: Final = 5.0
"""An error's body is waited for so long at most: its status is the answer, the words are a help."""
SAID_LIMIT: Final = 400
"""Characters of an upstream's own sentence; AWS's with action, principal and resource has about 300."""

_SECRET = re.compile(
    r"eyJ[\w-]+(?:\.[\w-]*){1,2}"  # a JWT
    r"|(?i:\b(?:bearer|basic)\s+)[\w.+/=~-]{8,}"
    r"|(?<=\?)[^\s?]{16,}"  # a query, which may be signed
)
_CODE_OF_NOTHING = "UNKNOWN"
_STANDARD_CODES = frozenset(
    {
        "BLOB_UNKNOWN",
        "DENIED",
        "MANIFEST_UNKNOWN",
        "NAME_UNKNOWN",
        "TOOMANYREQUESTS",
        "UNAUTHORIZED",
        "UNKNOWN",
        "UNSUPPORTED",
    }
)
"""Codes of the distribution-spec: alone they add nothing to the fault."""

_ADDRESS = re.compile(r"client with IP\b|\bIP address\b.*\b(?:allowed|blocked|denied|authorized)\b", re.I)
_TOKEN_CODES = frozenset({"DENIED", "UNAUTHORIZED"})
_NO_REFERRERS_API = frozenset({400, 405, 406, 410, 501})
"""Statuses beside 404 of registries without the referrers API (Artifactory: 406, go-containerregistry#1962, #2026)."""

Errors = list[tuple[str, str]]
"""Code and message of each error of a body."""


async def read_errors(response: UpstreamResponse) -> Errors:
    """The errors in a body, none where it is too large, broken or something else."""
    return decode_errors(await _read_body(response))


async def read_told_fault(response: UpstreamResponse) -> faults.Fault | None:
    """The fault that a Pullgate proxy names in its answer, in its words; None if it names none. Ends the answer.

    The words stand in the body; an answer to HEAD has them in the reason phrase alone, cut and without the hint.
    """
    reason = response.headers.get("X-Pullgate-Reason", "")
    if reason not in faults.FAULTS:
        return None
    body = await _read_body(response)
    response.release()
    errors, detail = decode_errors(body), decode_detail(body)
    hint = detail.get("hint")
    sentence = errors[0][1] if errors else response.phrase.partition(": ")[2]
    message = sentence.removesuffix(f"; ref {detail.get('ref')}").removesuffix(f"; {hint}")
    wait = response.headers.get("Retry-After")
    return faults.fault_in_words(
        reason,
        message or f"{response.host} refused it: {reason}",
        hint=hint,
        retry_after=seconds_of(wait, time.time()) if wait is not None else None,
    )


async def _read_body(response: UpstreamResponse) -> bytes:
    try:
        async with asyncio.timeout(ERROR_SECONDS):
            return await response.read(ERROR_LIMIT)
    except faults.Fault:
        return b""
    except TimeoutError:
        response.abort()
        return b""


def said_of(errors: Errors, config: UpstreamConfig, shown: str = "") -> str:
    """The first error's code and message as the upstream wrote them, cleaned, cut and without a secret.

    `shown` is the Authorization that the upstream was sent.
    """
    secrets = [shown.partition(" ")[2]]
    if config.credentials is not None:
        login = f"{config.credentials.username}:{config.credentials.password}"
        secrets += [config.credentials.password, base64.b64encode(login.encode()).decode()]
    for code, message in errors:
        if not message or _folded(message) == _folded(code):
            words = "" if code in _STANDARD_CODES else code
        else:
            words = message if code == _CODE_OF_NOTHING else f"{code}: {message}"
        for secret in filter(None, secrets):
            words = words.replace(secret, "...")
        words = faults.plain_text(_SECRET.sub("...", words[: SAID_LIMIT * 4]), SAID_LIMIT)
        if words:
            return words
    return ""


def _folded(text: str) -> str:
    """`text` as codes and the messages that repeat them are alike: "manifest unknown"."""
    return text.replace("_", " ").strip(" .").lower()


def fault_of_address(host: str, status: int, said: str) -> faults.Fault | None:
    """The fault of a firewall that refuses our address for every login (Azure names it); None: it is none.

    It says nothing of the login, so it must not be called a wrong password.
    """
    if status != 403 or _ADDRESS.search(said) is None:
        return None
    fault = faults.fault_in_words("UpstreamForbidden", f"{host} refuses the network address that asks")
    fault.step = "let the address that the registry names through its firewall"
    return fault


def fault_of_answer(host: str, request: UpstreamRequest, status: int, errors: Errors) -> faults.Fault:
    """The fault of an answer that is final: a renewal was tried where it could help. `host` is in words."""
    codes = {code for code, _ in errors}
    match status:
        case 401:
            return faults.UpstreamUnauthorized(host)
        case 403 if any("token has expired" in message.lower() for _, message in errors):
            # ECR, of a password that lives for 12 hours.
            return faults.UpstreamUnauthorized(host)
        case 403:
            return faults.UpstreamForbidden(host, request.repository)
        case 400 if codes & _TOKEN_CODES:
            # ECR Public, of an expired token.
            return faults.UpstreamUnauthorized(host)
        case 404:
            return _unknown(host, request, codes)
        case _ if request.kind == "referrers" and status in _NO_REFERRERS_API:
            return _unknown(host, request, codes)
        case _ if 400 <= status < 500 or status == 501:
            # A policy (Quay: 405, namespace disabled), or a request that is not known there: it says nothing of others.
            return faults.UpstreamForbidden(host, request.repository, status)
        case _ if status >= 500:
            return faults.UpstreamError(host, status)
        case _:
            return faults.UpstreamProtocol(host, f"it answered {status}")


def fault_of_storage(host: str, request: UpstreamRequest, status: int) -> faults.Fault:
    """The fault of a refusal by the server that the upstream redirected to; it was shown no credentials.

    The signature ran out, or a policy of the storage refuses this network (ECR behind a VPC endpoint).
    """
    words = f"{host} refuses {request.reference or 'the request'}: it answered {status}"
    return faults.fault_in_words("UpstreamForbidden", words, hint=faults.UpstreamForbidden.default_hint)


def _unknown(host: str, request: UpstreamRequest, codes: set[str]) -> faults.Fault:
    if request.kind == "blobs":
        return faults.BlobUnknown(host, request.repository, request.reference)
    # A registry without the referrers API answers its 404 without a code (distribution-spec, "Listing Referrers").
    if request.kind == "tags" or "NAME_UNKNOWN" in codes:
        return faults.RepositoryUnknown(host, request.repository)
    unknown = faults.ManifestUnknown(host, request.repository, request.reference)
    if request.kind == "manifests" and request.accept and not takes_oci(request.accept):
        unknown.hint = "check the tag; if it is an OCI image, use a client that accepts these types"
    return unknown
