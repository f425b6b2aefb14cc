"""A registry with scripted failures: the pull side of the distribution-spec over ScriptedServer."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.content import Bytes, Content, content_of
from tests.support.images import Image, referrers_index
from tests.support.upstreams.docker_registry import Auth
from tests.support.upstreams.ranges import cut_range
from tests.support.upstreams.s3_like import S3Like
from tests.support.upstreams.scripted import ScriptedServer
from tests.support.upstreams.scripted_login import Login
from tests.support.upstreams.wire import Reply, Request

_PATH = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs|referrers|tags)/(?P<reference>[^/]+)")


@dataclass(slots=True)
class Repository:
    """The content of a repository."""

    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, Image] = field(default_factory=dict)
    blobs: dict[str, Content] = field(default_factory=dict)


class ScriptedRegistry(ScriptedServer):
    """A right registry until `on` says otherwise.

    auth: "none", "basic" or "token" (its own token endpoint is /token; `login.realm` names another one).
    The attributes are switches that a test may turn.
    """

    def __init__(
        self,
        auth: Auth = "none",
        *,
        bind: str = "127.0.0.1",
        name: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(bind=bind, name=name, tls=tls)
        self.login = Login(auth)
        """The user who may pull, and the tokens."""
        self.ranges = True
        """True: a Range is answered with 206."""
        self.etags = True
        self.digest_headers = True
        """True: answers have Docker-Content-Digest."""
        self.referrers_api = True
        """Without it: 404, and clients fall back to the tag."""
        self.blob_store: S3Like | None = None
        """The store that blobs are redirected to (307)."""
        self._repositories: dict[str, Repository] = {}

    @property
    def username(self) -> str:
        """The user who may pull; empty if everybody may."""
        return self.login.username

    @property
    def password(self) -> str:
        """The user's password."""
        return self.login.password

    def add(self, repository: str, tag: str | None, image: Image) -> str:
        """Hold `image` and all that it names, under `tag` or untagged. Returns its digest."""
        held = self._repositories.setdefault(repository, Repository())
        for manifest in image.walk():
            held.manifests[manifest.digest] = manifest
            held.blobs |= {digest: Bytes(blob) for digest, blob in manifest.blobs.items()}
            held.blobs |= manifest.streams
        if tag is not None:
            held.tags[tag] = image.digest
        return image.digest

    def tags(self, repository: str) -> list[str]:
        """All tags of `repository`."""
        return sorted(self._repositories[repository].tags)

    async def push(self, repository: str, tag: str | None, image: Image) -> str:
        """`add`, by the name that DockerRegistry has for it."""
        return self.add(repository, tag, image)

    def answer(self, request: Request) -> Reply:
        """See ScriptedServer."""
        if request.path == "/token":
            return self.login.answer_token(request)
        if request.method not in ("GET", "HEAD"):
            return error(405, "UNSUPPORTED")
        match = _PATH.fullmatch(request.path)
        repository = match["repository"] if match else ""
        if (refusal := self.login.refusal(request, repository, self.url)) is not None:
            return refusal
        if request.path == "/v2/":
            return document({})
        if match is None or repository not in self._repositories:
            return error(404, "NAME_UNKNOWN")
        return self._answer_repository(request, self._repositories[repository], match["kind"], match["reference"])

    def _answer_repository(self, request: Request, held: Repository, kind: str, reference: str) -> Reply:
        if kind == "manifests":
            return self._manifest(held, reference)
        if kind == "blobs":
            return self._blob(request, held, reference)
        if kind == "referrers" and self.referrers_api:
            return _referrers(request, held, reference)
        if kind == "tags" and reference == "list":
            return _tags(request, held)
        return error(404, "UNSUPPORTED")

    def _manifest(self, held: Repository, reference: str) -> Reply:
        image = held.manifests.get(held.tags.get(reference, reference))
        if image is None:
            return error(404, "MANIFEST_UNKNOWN")
        headers = self._headers(image.media_type, image.digest)
        return Reply(200, headers, Bytes(image.manifest))

    def _blob(self, request: Request, held: Repository, digest: str) -> Reply:
        content = held.blobs.get(digest)
        if content is None:
            return error(404, "BLOB_UNKNOWN")
        if self.blob_store is not None:
            return Reply(307, (("Location", self.blob_store.put(digest, content)),))
        reply = Reply(200, self._headers("application/octet-stream", digest), content)
        if not self.ranges:
            return reply
        return cut_range(request, reply.with_header("Accept-Ranges", "bytes"))

    def _headers(self, media_type: str, digest: str) -> tuple[tuple[str, str], ...]:
        headers = [("Content-Type", media_type), ("Docker-Distribution-Api-Version", "registry/2.0")]
        if self.digest_headers:
            headers.append(("Docker-Content-Digest", digest))
        if self.etags:
            headers.append(("ETag", f'"{digest}"'))
        return tuple(headers)


def document(value: object, headers: Mapping[str, str] | None = None, status: int = 200) -> Reply:
    """`value` as JSON."""
    all_headers = {"Content-Type": "application/json", **(headers or {})}
    return Reply(status, tuple(all_headers.items()), content_of(json.dumps(value).encode()))


def error(status: int, code: str, headers: Mapping[str, str] | None = None) -> Reply:
    """An error with the OCI body."""
    return document({"errors": [{"code": code, "message": code.lower()}]}, headers, status)


def _referrers(request: Request, held: Repository, digest: str) -> Reply:
    """distribution-spec: listing referrers, with the filter."""
    found = [one for one in held.manifests.values() if one.document.get("subject", {}).get("digest") == digest]
    wanted = request.query.get("artifactType")
    headers = {}
    if wanted is not None:
        found = [one for one in found if one.document.get("artifactType") == wanted]
        headers["OCI-Filters-Applied"] = "artifactType"
    listing = referrers_index(found)
    return Reply(200, (("Content-Type", listing.media_type), *headers.items()), Bytes(listing.manifest))


def _tags(request: Request, held: Repository) -> Reply:
    """distribution-spec: listing tags, with n and last."""
    query: Any = request.query
    tags = sorted(tag for tag in held.tags if tag > query.get("last", ""))
    count = int(query.get("n", len(tags)))
    name = request.path.removeprefix("/v2/").removesuffix("/tags/list")
    page = {"name": name, "tags": tags[:count]}
    if count >= len(tags) or not count:
        return document(page)
    return document(page, {"Link": f'<{request.path}?n={count}&last={tags[count - 1]}>; rel="next"'})
