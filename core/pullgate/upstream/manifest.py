"""Manifests: small, buffered, and never handed on before the digest is right.

Some registries' HEAD is worse than their GET: Nexus answers 404, Artifactory and ECR have lacked Docker-Content-Digest.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Protocol

from pullgate import faults
from pullgate.oci.digest import digest_of, is_digest
from pullgate.oci.manifest import MANIFEST_LIMIT, MANIFEST_TYPES, parse_manifest
from pullgate.oci.manifest_form import ARTIFACT_TYPES, check_manifest
from pullgate.oci.schema1 import SCHEMA1_TYPES, is_schema1, signed_payload
from pullgate.turns import aside
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.failures import Transient
from pullgate.upstream.head import try_head
from pullgate.upstream.request import Method, UpstreamRequest, UpstreamResponse
from pullgate.upstream.transport import is_sendable

_TYPES = frozenset({*MANIFEST_TYPES, *SCHEMA1_TYPES, *ARTIFACT_TYPES})


@dataclass(frozen=True, slots=True)
class FetchedManifest:
    """A manifest's bytes as the upstream has them."""

    body: bytes
    media_type: str
    digest: str


@dataclass(frozen=True, slots=True)
class ResolvedManifest:
    """The answer to a HEAD of a manifest."""

    status: int
    digest: str
    media_type: str
    length: int
    """Bytes."""


class Client(Protocol):
    """The part of `Upstream` that is needed here."""

    config: UpstreamConfig

    async def exchange(self, request: UpstreamRequest, method: Method) -> UpstreamResponse:
        """One try: whatever the upstream answered."""

    async def check(self, request: UpstreamRequest, response: UpstreamResponse) -> UpstreamResponse:
        """`response` where it is what was asked for; else its fault is raised."""


async def fetch_manifest(client: Client, request: UpstreamRequest) -> FetchedManifest:
    """One try to GET a manifest.

    Raises UpstreamProtocol for a body that is no manifest, DigestMismatch if the bytes are not what was asked for or
    announced.
    """
    response = await client.check(request, await client.exchange(request, "GET"))
    host = response.host
    if response.status != 200:
        response.release()
        raise faults.UpstreamProtocol(host, f"it answered {response.status} for a manifest")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        response.abort()
        raise faults.UpstreamProtocol(host, "the manifest is compressed, which was not asked for")
    response.refuse_page()
    body = await _read(response)
    media_type = _content_type(response)
    problem = await aside(len(body), functools.partial(_problem_of, body, media_type))
    if problem and media_type not in _TYPES:  # it does not even say that it is a manifest
        raise faults.UpstreamProtocol(host, problem)
    expected = _expected_digest(request, response)
    digest = digest_of(body, expected.partition(":")[0] if expected else "sha256")
    if digest != expected:
        digest = await aside(len(body), lambda: _schema1_digest(host, body, expected) if is_schema1(body) else digest)
    if expected is not None and digest != expected:
        raise faults.DigestMismatch(host, expected)
    if problem:
        raise faults.UpstreamProtocol(host, problem)
    return FetchedManifest(body, await _media_type(response, body), digest)


def _problem_of(body: bytes, media_type: str) -> str:
    """Why `body` is no manifest, in words; nothing if it is one."""
    try:
        check_manifest(body, media_type)
    except ValueError as error:
        return str(error)
    return ""


def _schema1_digest(host: str, body: bytes, expected: str | None) -> str:
    """The digest of the signed payload. Raises UpstreamProtocol: a conversion under a wrong name is no forged image."""
    algorithm = expected.partition(":")[0] if expected else "sha256"
    try:
        digest = digest_of(signed_payload(body), algorithm)
    except ValueError:
        digest = ""
    if digest and expected in {None, digest}:
        return digest
    fault = faults.UpstreamProtocol(
        host, f"it sent a manifest of Docker's schema 1 instead of {expected or 'an image'}"
    )
    fault.step = "push the image again with a tool of today: the registry has it, or sends it, as Docker's schema 1"
    raise fault


async def resolve_manifest(client: Client, request: UpstreamRequest) -> ResolvedManifest:
    """One try to HEAD a manifest, and to GET and hash it where that fails or tells too little."""
    response = await try_head(client, request)
    if response is not None and response.status == 200:
        resolved = _told_by_head(request, response)
        if resolved is not None:
            return resolved
    fetched = await fetch_manifest(client, request)
    return ResolvedManifest(200, fetched.digest, fetched.media_type, len(fetched.body))


def _told_by_head(request: UpstreamRequest, response: UpstreamResponse) -> ResolvedManifest | None:
    digest, length, media_type = (
        response.headers.get("Docker-Content-Digest", ""),
        response.length,
        _content_type(response),
    )
    if not is_digest(digest) or not length or media_type not in _TYPES:
        return None  # a page, or a type that says nothing: the body decides
    if is_digest(request.reference) and digest != request.reference:
        return None
    return ResolvedManifest(response.status, digest, media_type, length)


async def _read(response: UpstreamResponse) -> bytes:
    try:
        return await response.read(MANIFEST_LIMIT)
    except faults.UpstreamProtocol as fault:
        if not response.broken:
            raise
        broken = fault
    # Nothing was handed out yet: a body that broke off may be asked for again.
    raise Transient(broken)


def _expected_digest(request: UpstreamRequest, response: UpstreamResponse) -> str | None:
    if is_digest(request.reference):
        return request.reference
    announced = response.headers.get("Docker-Content-Digest", "")
    return announced if is_digest(announced) else None


def _content_type(response: UpstreamResponse) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip()


async def _media_type(response: UpstreamResponse, body: bytes) -> str:
    """Content-Type, or what the manifest says of itself where it is missing or says nothing."""
    given = _content_type(response)
    if given not in {"", "application/json", "text/plain", "application/octet-stream"}:
        return given
    try:
        said = (await aside(len(body), lambda: parse_manifest(body, None))).media_type
    except ValueError:
        return given or "application/json"
    if not is_sendable(said):
        raise faults.UpstreamProtocol(response.host, "its manifest names a type that no header may hold")
    return said
