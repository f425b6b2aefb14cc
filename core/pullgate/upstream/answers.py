"""An upstream's status as a fault: whose move it is, by what was asked and what was said."""

from __future__ import annotations

from pullgate import faults
from pullgate.oci.errors import decode_errors
from pullgate.upstream.request import UpstreamRequest, UpstreamResponse

ERROR_LIMIT = 8 * 1024
"""Bytes of an error's body that are read; the rest is not (CVE-2020-1702)."""

_TOKEN_CODES = frozenset({"DENIED", "UNAUTHORIZED"})

Errors = list[tuple[str, str]]
"""Code and message of each error of a body."""


async def read_errors(response: UpstreamResponse) -> Errors:
    """The errors in a body, none where it is too large, broken or something else."""
    try:
        body = await response.read(ERROR_LIMIT)
    except faults.Fault:
        return []
    return decode_errors(body)


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
        case _ if status >= 400:
            return faults.UpstreamError(host, status)
        case _:
            return faults.UpstreamProtocol(host, f"it answered {status}")


def _unknown(host: str, request: UpstreamRequest, codes: set[str]) -> faults.Fault:
    if request.kind == "blobs":
        return faults.BlobUnknown(host, request.repository, request.reference)
    # A registry without the referrers API answers its 404 without a code (distribution-spec, "Listing Referrers").
    if request.kind == "tags" or "NAME_UNKNOWN" in codes:
        return faults.RepositoryUnknown(host, request.repository)
    return faults.ManifestUnknown(host, request.repository, request.reference)
