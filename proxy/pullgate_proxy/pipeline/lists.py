"""Tags and referrers: small JSON documents that the proxy reads, filters and writes anew, with links to itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from pullgate.faults import ManifestUnknown, RepositoryUnknown, UpstreamProtocol
from pullgate.oci.digest import is_digest
from pullgate.oci.json_text import read_json
from pullgate.upstream.client import Upstream
from pullgate.upstream.request import UpstreamRequest, UpstreamResponse

LIST_LIMIT = 4 * 1024 * 1024
"""Bytes of a list, the bound of a manifest."""
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"

_NEXT_LINK = re.compile(r'<([^<>"\s]{1,2048})>\s*;\s*rel="?next"?\s*\Z', re.IGNORECASE)
_QUERY = re.compile(r"[A-Za-z0-9._~+/=:@&%-]{0,1024}\Z")


@dataclass(frozen=True, slots=True)
class TagPage:
    """One page of a repository's tags."""

    tags: tuple[str, ...]
    next_query: str | None
    """The query that asks for the next page; None on the last one."""


async def fetch_tag_page(upstream: Upstream, repository: str, query: str) -> TagPage:
    """One page of tags. Raises the upstream's faults; UpstreamProtocol for what is no list of tags."""
    response = await upstream.send(UpstreamRequest("GET", repository, "tags", "list", query=query))
    document = await _read_object(upstream, response)
    tags = document.get("tags") or []
    if not isinstance(tags, list):
        raise UpstreamProtocol(upstream.config.host, "its list of tags is none")
    return TagPage(tuple(tag for tag in tags if isinstance(tag, str)), next_query(response.headers.get("Link")))


def cut_page(page: TagPage, query: str) -> TagPage:
    """`page` as `query` asks. Some registries (distribution 2) ignore n and last: it is too long or holds `last`."""
    asked = dict(parse_qsl(query))
    count, last = int(asked.get("n", len(page.tags))), asked.get("last", "")
    if len(page.tags) <= count and last not in page.tags:
        return page
    rest = sorted(tag for tag in page.tags if tag > last)
    cut = tuple(rest[:count])
    more = urlencode({"n": count, "last": cut[-1]}) if cut and len(rest) > count else None
    return TagPage(cut, more)


def next_query(link: str | None) -> str | None:
    """The query of a `rel="next"` Link (RFC 8288); its host and path are the upstream's and of no use here."""
    match = _NEXT_LINK.search(link or "")
    try:
        query = urlsplit(match[1]).query if match else ""
    except ValueError:  # a bracket where a host stands
        return None
    return query if query and _QUERY.match(query) else None


def render_tags(name: str, page: TagPage, allows: Callable[[str], bool] | None) -> tuple[bytes, str | None]:
    """(body, Link) of a page, under the client's own `name`, with only the tags that the license `allows`."""
    tags = page.tags if allows is None else tuple(filter(allows, page.tags))
    body = json.dumps({"name": name, "tags": tags}).encode()
    link = None if page.next_query is None else f'</v2/{name}/tags/list?{page.next_query}>; rel="next"'
    return body, link


@dataclass(frozen=True, slots=True)
class Referrers:
    """The manifests that are about a subject."""

    descriptors: tuple[dict[str, Any], ...]
    filtered: bool
    next_query: str | None = None

    @property
    def digests(self) -> tuple[str, ...]:
        """Of the manifests listed."""
        return tuple(d["digest"] for d in self.descriptors)

    def render(self) -> bytes:
        """The image index that the referrers API answers with."""
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": self.descriptors}
        return json.dumps(index).encode()


async def fetch_referrers(upstream: Upstream, repository: str, digest: str, query: str) -> Referrers:
    """The referrers of `digest`; by the tag schema where the upstream has no referrers API (distribution-spec)."""
    try:
        response = await upstream.send(UpstreamRequest("GET", repository, "referrers", digest, query=query))
    except (ManifestUnknown, RepositoryUnknown):
        return await _fetch_by_tag_schema(upstream, repository, digest)
    document = await _read_object(upstream, response)
    filtered = "OCI-Filters-Applied" in response.headers
    return Referrers(_descriptors(document), filtered, next_query(response.headers.get("Link")))


def filter_by_type(referrers: Referrers, artifact_type: str) -> Referrers:
    """`referrers` with one artifactType only, where the upstream did not filter."""
    if referrers.filtered or not artifact_type:
        return referrers
    kept = tuple(d for d in referrers.descriptors if d.get("artifactType") == artifact_type)
    return Referrers(kept, filtered=True, next_query=referrers.next_query)


async def _fetch_by_tag_schema(upstream: Upstream, repository: str, digest: str) -> Referrers:
    tag = digest.replace(":", "-", 1)
    try:
        request = UpstreamRequest("GET", repository, "manifests", tag, accept=(INDEX_TYPE,))
        fetched = await upstream.fetch_manifest(request)
    except (ManifestUnknown, RepositoryUnknown):
        return Referrers((), filtered=False)
    return Referrers(_descriptors(_parse_object(upstream, fetched.body)), filtered=False)


def _descriptors(document: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    found = document.get("manifests")
    listed = found if isinstance(found, list) else []
    return tuple(d for d in listed if isinstance(d, dict) and is_digest(str(d.get("digest", ""))))


async def _read_object(upstream: Upstream, response: UpstreamResponse) -> dict[str, Any]:
    return _parse_object(upstream, await response.read(LIST_LIMIT))


def _parse_object(upstream: Upstream, body: bytes) -> dict[str, Any]:
    try:
        document = read_json(body)
    except ValueError as error:
        raise UpstreamProtocol(upstream.config.host, "its list is not JSON") from error
    if not isinstance(document, dict):
        raise UpstreamProtocol(upstream.config.host, "its list is not an object")
    return document
