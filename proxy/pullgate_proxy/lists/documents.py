"""Tags and referrers: small JSON documents that the proxy reads, filters and writes anew, with links to itself."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from pullgate.faults import ManifestUnknown, RepositoryUnknown, UpstreamProtocol
from pullgate.oci.digest import is_digest
from pullgate.oci.json_text import TooMuch, read_json
from pullgate.oci.manifest import DESCRIPTOR_LIMIT
from pullgate.oci.manifest_form import object_in_words, read_object
from pullgate.oci.reference import is_tag
from pullgate.turns import aside
from pullgate.upstream.client import Upstream
from pullgate.upstream.request import UpstreamRequest, UpstreamResponse
from pullgate_proxy.request.parse import QUERY_LIMIT

LIST_LIMIT = 4 * 1024 * 1024
"""Bytes of a list, the bound of a manifest."""
TAG_LENGTH = 16
"""Characters of a tag in a list, about."""
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"

_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_IS_NEXT = re.compile(r';\s*rel\s*=\s*(?:"[^"]*?\bnext\b|next\b)', re.IGNORECASE)
_QUERY = re.compile(rf"[!-~]{{1,{QUERY_LIMIT}}}\Z")
LINK_LIMIT = 16 * 1024
"""Characters of all Link headers of a page; one link takes at most QUERY_LIMIT, and a few stand beside it."""


@dataclass(frozen=True, slots=True)
class TagPage:
    """One page of a repository's tags."""

    tags: tuple[str, ...]
    next_query: str | None
    """The query that asks for the next page; None on the last one."""


async def fetch_tag_page(upstream: Upstream, repository: str, query: str) -> TagPage:
    """One page of tags, those of the grammar. Raises the upstream's faults; UpstreamProtocol for what is no list."""
    response = await upstream.send(UpstreamRequest("GET", repository, "tags", "list", query=query))
    response.refuse_page()
    body = await response.read(LIST_LIMIT)
    tags = await aside(len(body), functools.partial(_read_tags, upstream.config.host, body))
    return TagPage(tags, _next_query(upstream, response))


def _read_tags(host: str, body: bytes) -> tuple[str, ...]:
    document = _parse_object(host, body, "a list of tags")
    tags = document.get("tags") or []
    if "tags" not in document or not isinstance(tags, list):
        raise UpstreamProtocol(host, f"it sent {object_in_words(document)}, not a list of tags")
    return tuple(tag for tag in tags if isinstance(tag, str) and is_tag(tag))


async def show_page(name: str, page: TagPage, query: str) -> tuple[bytes, str | None]:
    """(body, Link) of the part of `page` that `query` asks for; see `cut_page` and `render_tags`."""
    size = len(page.tags) * TAG_LENGTH
    return await aside(size, lambda: render_tags(name, cut_page(page, query)))


def cut_page(page: TagPage, query: str) -> TagPage:
    """`page` as `query` asks. Some registries (distribution 2) ignore n and last: it is too long or holds `last`."""
    asked = dict(parse_qsl(query))
    count, last = int(asked.get("n", len(page.tags))), asked.get("last", "")
    if len(page.tags) <= count and last not in page.tags:
        return page
    rest = sorted(tag for tag in page.tags if tag > last)
    cut = tuple(rest[:count])
    more = urlencode({"n": count, "last": cut[-1]}) if cut and len(rest) > count else page.next_query
    return TagPage(cut, more)


def next_query(links: Iterable[str]) -> str | None:
    """The query of the `rel="next"` link among Link headers (RFC 8288), exactly as it stands there; None without one.

    Its host and path are the upstream's, so they are dropped. Registries page by n and last, by next_page, nextToken,
    marker, page and others, with cursors in any encoding: only who wrote the query can read it.
    Raises ValueError for a query that is too long, or holds a character that no query has.
    """
    text = ", ".join(links)
    if len(text) > LINK_LIMIT:
        raise ValueError(f"its links are longer than {LINK_LIMIT} characters")
    target = next((target for target, rest in _LINK.findall(text) if _IS_NEXT.search(rest)), "")
    try:
        query = urlsplit(target).query
    except ValueError:  # a bracket where a host stands
        return None
    if query and not _QUERY.match(query):
        raise ValueError(f"its next page has a query beyond {QUERY_LIMIT} characters of ASCII")
    return query or None


def _next_query(upstream: Upstream, response: UpstreamResponse) -> str | None:
    # A list that ended here would look whole.
    try:
        return next_query(response.headers.getall("Link", ()))
    except ValueError as error:
        raise UpstreamProtocol(upstream.config.host, str(error)) from error


def render_tags(name: str, page: TagPage) -> tuple[bytes, str | None]:
    """(body, Link) of a page, under the client's own `name`."""
    body = json.dumps({"name": name, "tags": page.tags}).encode()
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
        """The digests of the listed manifests."""
        return tuple(d["digest"] for d in self.descriptors)

    def render(self) -> bytes:
        """The image index that the referrers API answers with."""
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": self.descriptors}
        return json.dumps(index).encode()


async def fetch_referrers(upstream: Upstream, repository: str, digest: str, query: str) -> Referrers:
    """The referrers of `digest`; by the tag schema if the upstream has no referrers API (distribution-spec).

    Such an upstream answers with an error (see `answers.fault_of_answer`), or with a page that is no image index.
    """
    try:
        response = await upstream.send(UpstreamRequest("GET", repository, "referrers", digest, query=query))
    except (ManifestUnknown, RepositoryUnknown):
        return await _fetch_by_tag_schema(upstream, repository, digest)
    body = await response.read(LIST_LIMIT)
    found = await aside(len(body), functools.partial(_read_index, upstream.config.host, body))
    if found is None:
        return await _fetch_by_tag_schema(upstream, repository, digest)
    filtered = "OCI-Filters-Applied" in response.headers
    return Referrers(found, filtered, _next_query(upstream, response))


def _read_index(host: str, body: bytes) -> tuple[dict[str, Any], ...] | None:
    """The descriptors; None for what is no image index, such as the HTML of a web page. Raises UpstreamProtocol."""
    try:
        document = read_json(body)
    except TooMuch as error:
        raise UpstreamProtocol(host, f"its list of referrers {error}") from error
    except ValueError:
        return None
    is_index = isinstance(document, dict) and isinstance(document.get("manifests", ""), list | None)
    return _descriptors(host, document) if is_index else None


def filter_by_type(referrers: Referrers, artifact_type: str) -> Referrers:
    """`referrers` with one artifactType only, where the upstream did not filter."""
    if referrers.filtered or not artifact_type:
        return referrers
    kept = tuple(d for d in referrers.descriptors if d.get("artifactType") == artifact_type)
    return Referrers(kept, filtered=True, next_query=referrers.next_query)


async def _fetch_by_tag_schema(upstream: Upstream, repository: str, digest: str) -> Referrers:
    try:
        request = UpstreamRequest("GET", repository, "manifests", referrers_tag(digest), accept=(INDEX_TYPE,))
        fetched = await upstream.fetch_manifest(request)
    except (ManifestUnknown, RepositoryUnknown):
        return Referrers((), filtered=False)
    host, body = upstream.config.host, fetched.body
    found = await aside(len(body), lambda: _descriptors(host, _parse_object(host, body, "an index")))
    return Referrers(found, filtered=False)


def referrers_tag(digest: str) -> str:
    """The tag of the index of `digest`'s referrers (distribution-spec, "Referrers Tag Schema": 32 and 64 at most)."""
    algorithm, _, encoded = digest.partition(":")
    return f"{algorithm[:32]}-{encoded[:64]}"


def _descriptors(host: str, document: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    found = document.get("manifests")
    listed = found if isinstance(found, list) else []
    if len(listed) > DESCRIPTOR_LIMIT:
        raise UpstreamProtocol(host, f"a page of its referrers names more than {DESCRIPTOR_LIMIT} things")
    return tuple(d for d in listed if isinstance(d, dict) and is_digest(str(d.get("digest", ""))))


def _parse_object(host: str, body: bytes, wanted: str) -> dict[str, Any]:
    try:
        return read_object(body, wanted)
    except ValueError as error:
        raise UpstreamProtocol(host, str(error)) from error
