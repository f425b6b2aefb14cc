"""An authorized request -> the upstream's answer, as what `relay` sends: a small body, a stream, or a redirect."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import parse_qs, urlencode

from multidict import CIMultiDictProxy

from pullgate.faults import NotEntitled, ProofPending, UpstreamForbidden, UpstreamProtocol
from pullgate.oci.accept import accept_for_upstream
from pullgate.oci.manifest import INDEX_TYPES, parse_manifest
from pullgate.policy.facts import LicenseFacts
from pullgate.policy.route import Route
from pullgate.shares import license_holders, registry_holders
from pullgate.turns import Turns, aside
from pullgate.upstream.blob import stream_blob
from pullgate.upstream.client import FetchedManifest, Upstream
from pullgate.upstream.parts import PartsStream, is_multipart
from pullgate.upstream.ranges import Range, TooManyRanges, parse_ranges
from pullgate.upstream.request import Method, UpstreamRequest
from pullgate_proxy.cache.blobs.ask import Ask
from pullgate_proxy.cache.blobs.cache import BlobCache
from pullgate_proxy.cache.blobs.prefetch import Prefetcher
from pullgate_proxy.cache.blobs.reader import Held, Part
from pullgate_proxy.cache.manifests import ManifestCache
from pullgate_proxy.cache.where import Where
from pullgate_proxy.limits.rates import Asks
from pullgate_proxy.lineage.proof import Proof, Prover, Question
from pullgate_proxy.lists.cursor import Cursors, Position
from pullgate_proxy.lists.documents import (
    INDEX_TYPE,
    TagPage,
    fetch_referrers,
    filter_by_type,
    render_tags,
    show_page,
)
from pullgate_proxy.lists.room import ListRoom
from pullgate_proxy.lists.ruled_list import CURSOR, list_allowed, read_list_query
from pullgate_proxy.lists.tag_pages import TagPages
from pullgate_proxy.pipeline.authorize import Authorization, Decision
from pullgate_proxy.pipeline.multipart import Multipart
from pullgate_proxy.request.parse import LIST_LIMIT, Kind, PullRequest

ACCEPT_LIMIT = 32
DESCRIPTOR_LENGTH = 256
"""Bytes of a descriptor, about."""
_BLOB_HEADERS = ("Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "ETag", "Last-Modified")


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to the client."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    stream: AsyncIterator[Part] | None = field(default=None)
    """A blob's bytes; the `Content-Length` header says how many. Raises a fault if it fails for good."""
    is_pull: bool = False
    """True if it is an image's manifest."""
    cache: str = "off"
    """hit, revalidated, shared, miss, stale; off if nothing is kept."""
    young_until: float = 0.0
    """Until when (monotonic) the same may be answered again to the same request; 0: never."""
    head: bytes = b""
    """See `whole.render_head`; rendered already where it is not empty."""


@dataclass(frozen=True, slots=True)
class Pull:
    """All that is decided about one request."""

    request: PullRequest
    route: Route
    license: LicenseFacts
    authorization: Authorization
    headers: CIMultiDictProxy[str]
    where: Where
    """The Registry of the manifests and blobs, for the caches."""
    current: Callable[[], Upstream]
    """The Registry's client as it is when this is called."""
    client: str
    """Its address."""
    spend: Callable[[Asks], None]
    """Called before the upstream is asked for this License. Raises LimitReached."""


class Kept(Protocol):
    """The caches that an answer may come from."""

    manifests: ManifestCache
    blobs: BlobCache | None
    """None: no blob is kept."""
    prefetcher: Prefetcher | None


class Forwarder:
    """Asks the upstream for what was authorized."""

    def __init__(self, prover: Prover, caches: Kept, cursors: Cursors, lists: ListRoom) -> None:
        self._prover, self._cursors, self._manifests = prover, cursors, caches.manifests
        self._blobs, self._prefetcher = caches.blobs, caches.prefetcher
        self._pages, self._lists = TagPages(time.monotonic), lists

    async def close(self) -> None:
        """End the requests for lists that run."""
        await self._pages.close()

    async def forward(self, pull: Pull, upstream: Upstream) -> Answer:
        """The upstream's answer. Raises its faults; NotEntitled or ProofPending for a digest that is not proven."""
        await self._require_proof(pull, upstream)
        match pull.request.kind:
            case Kind.MANIFESTS if pull.request.method == "HEAD":
                return await self._head_manifest(pull, upstream)
            case Kind.MANIFESTS:
                return await self._get_manifest(pull, upstream)
            case Kind.BLOBS:
                return await self._forward_blob(pull, upstream)
            case _:
                return await self._forward_list(pull, upstream)

    async def _require_proof(self, pull: Pull, upstream: Upstream) -> None:
        authorization = pull.authorization
        if authorization.decision is Decision.ALLOWED or authorization.scope is None:
            return
        is_blob = pull.request.kind is Kind.BLOBS
        question = Question(
            upstream,
            pull.route.repository,
            authorization.access,
            authorization.scope,
            authorization.digest,
            is_blob,
        )
        path = f"{pull.request.repository}@{authorization.digest}"
        pull.spend(Asks.PROOFS)
        proof = await self._prover.prove(question)
        if proof is Proof.PENDING:
            raise ProofPending(pull.license.name, path)
        if proof is Proof.REFUTED:
            raise NotEntitled(pull.license.name, path)

    async def _head_manifest(self, pull: Pull, upstream: Upstream) -> Answer:
        spend = functools.partial(pull.spend, Asks.HEADS)
        resolved, cache = await self._manifests.resolve(
            pull.where, _manifest_request(pull), upstream, fresh=_wants_fresh(pull), spend=spend
        )
        if pull.authorization.scope is not None:
            self._prover.grant(pull.authorization.scope, resolved.digest)
        headers = {
            "Content-Type": resolved.media_type,
            "Docker-Content-Digest": resolved.digest,
            "Content-Length": str(resolved.length),
            **_cache_headers(cache),
        }
        return Answer(200, headers, cache=cache, young_until=self._young_until(pull, cache))

    async def _get_manifest(self, pull: Pull, upstream: Upstream) -> Answer:
        spend = functools.partial(pull.spend, Asks.MANIFESTS)
        fetched, cache = await self._manifests.fetch(
            pull.where, _manifest_request(pull), upstream, fresh=_wants_fresh(pull), spend=spend
        )
        if pull.authorization.scope is not None:
            await self._prover.learn(pull.authorization.scope, fetched.digest, fetched.body, fetched.media_type)
        if pull.where.prefetch and cache in {"miss", "off"}:
            await self._prefetch(pull, fetched)
        headers = {
            "Content-Type": fetched.media_type,
            "Docker-Content-Digest": fetched.digest,
            **_cache_headers(cache),
        }
        is_pull = fetched.media_type not in INDEX_TYPES
        young_until = self._young_until(pull, cache)
        return Answer(200, headers, fetched.body, is_pull=is_pull, cache=cache, young_until=young_until)

    def _young_until(self, pull: Pull, cache: str) -> float:
        """A tag rule's proofs and a License's limits are looked at each time."""
        if cache != "hit" or pull.authorization.scope is not None or pull.license.limits is not None:
            return 0.0
        return self._manifests.young_until(pull.where, _manifest_request(pull))

    async def _prefetch(self, pull: Pull, fetched: FetchedManifest) -> None:
        if self._prefetcher is None or pull.route.registry.delivery == "Redirect":
            return
        with contextlib.suppress(ValueError):
            parse = functools.partial(parse_manifest, fetched.body, fetched.media_type)
            manifest = await aside(len(fetched.body), parse)
            repository = pull.route.repository
            self._prefetcher.add(Ask(pull.where, repository, digest, pull.current) for digest in manifest.blobs)

    async def _forward_blob(self, pull: Pull, upstream: Upstream) -> Answer:
        try:
            _wanted_ranges(pull)
        except TooManyRanges:
            return Answer(416, {"Content-Length": "0"})
        is_head = pull.request.method == "HEAD"
        if is_head:  # also of a blob on the disk, whose place the upstream may be asked for
            pull.spend(Asks.HEADS)
        redirects = pull.route.registry.delivery == "Redirect"
        # Redirect is there to keep blobs off the proxy: only the first pull passes through it, on its way to a store.
        if self._blobs is None or not pull.where.blobs or _wants_fresh(pull) or (redirects and not self._blobs.store):
            return await _stream_blob(pull, upstream)
        reader = f"{pull.license.namespace}/{pull.license.name} {pull.client}"
        ask = Ask(pull.where, pull.route.repository, pull.request.reference, pull.current, reader=reader)
        if redirects and not is_head and (url := await self._blobs.locate(ask)) is not None:
            headers = {"Location": url, "Docker-Content-Digest": pull.request.reference, **_cache_headers("store")}
            return Answer(307, headers, cache="store")
        wanted = () if is_head else _wanted_ranges(pull)
        firsts = [each.first for each in wanted]
        first = (None if None in firsts else max(each or 0 for each in firsts)) if firsts else 0
        held = await self._blobs.open(ask, first, begin=first == 0 and not is_head)
        if held is None:
            return await _stream_blob(pull, upstream)
        answer = _answer_held(pull, held, wanted)
        if not is_head and answer.status != 416:
            return answer
        await held.aclose()
        return replace(answer, stream=None)

    async def _forward_list(self, pull: Pull, upstream: Upstream) -> Answer:
        pull.spend(Asks.LISTS)
        registry = pull.route.registry
        async with self._lists.hold(registry_holders(registry.namespace, registry.name)):
            if pull.request.kind is Kind.TAGS:
                return await self._forward_tags(pull, upstream)
            return await self._forward_referrers(pull, upstream)

    async def _forward_tags(self, pull: Pull, upstream: Upstream) -> Answer:
        repository, query = pull.route.repository, pull.request.query
        if pull.authorization.access.allows_every_reference:
            page = (await self._pages.fetch(pull.where, upstream, repository, query, fresh=_wants_fresh(pull))).page
            body, link = await show_page(pull.request.repository, page, query)
        else:
            body, link = render_tags(pull.request.repository, await self._list_allowed(pull, upstream))
        headers = {"Content-Type": "application/json"}
        if link:
            headers["Link"] = link
        return Answer(200, headers, body)

    async def _list_allowed(self, pull: Pull, upstream: Upstream) -> TagPage:
        count, last, cursor = read_list_query(pull.request.query)
        registry, repository = pull.route.registry, pull.route.repository
        about = f"{registry.namespace}/{registry.name} {repository}"
        start = Position(f"n={LIST_LIMIT}", last=last)
        position = self._cursors.open(cursor, about, time.time()) if cursor else start
        fetch = functools.partial(self._pages.fetch, pull.where, upstream, repository, fresh=_wants_fresh(pull))
        turns = Turns(license_holders(pull.license.namespace, pull.license.name))
        tags, more = await list_allowed(fetch, position, count, pull.authorization.access, turns)
        if more is None:
            return TagPage(tags, None)
        try:
            sealed = self._cursors.seal(more, about)
        except ValueError as error:
            raise UpstreamProtocol(upstream.config.host, str(error)) from error
        return TagPage(tags, urlencode({"n": count, CURSOR: sealed}))

    async def _forward_referrers(self, pull: Pull, upstream: Upstream) -> Answer:
        request = pull.request
        found = await fetch_referrers(upstream, pull.route.repository, request.reference, request.query)
        wanted = parse_qs(request.query).get("artifactType", [""])[0]
        referrers = filter_by_type(found, wanted)
        if pull.authorization.scope is not None:
            await self._prover.grant_many(pull.authorization.scope, referrers.digests)
        headers = {"Content-Type": INDEX_TYPE}
        if wanted and referrers.filtered:
            headers["OCI-Filters-Applied"] = "artifactType"
        if referrers.next_query:
            headers["Link"] = (
                f'</v2/{request.repository}/referrers/{request.reference}?{referrers.next_query}>; rel="next"'
            )
        return Answer(200, headers, await aside(len(referrers.descriptors) * DESCRIPTOR_LENGTH, referrers.render))


def _wants_fresh(pull: Pull) -> bool:
    """A test as a customer asks the proxy to go upstream (RFC 9111, section 5.2.1.4)."""
    return any("no-cache" in line.lower() for line in pull.headers.getall("Cache-Control", ()))


def _cache_headers(cache: str) -> dict[str, str]:
    return {} if cache == "off" else {"X-Pullgate-Cache": cache}


def _method(pull: Pull) -> Method:
    return "HEAD" if pull.request.method == "HEAD" else "GET"


def _manifest_request(pull: Pull) -> UpstreamRequest:
    accept = accept_for_upstream(tuple(pull.headers.getall("Accept", ()))[:ACCEPT_LIMIT])
    return UpstreamRequest(_method(pull), pull.route.repository, "manifests", pull.request.reference, accept=accept)


async def _stream_blob(pull: Pull, upstream: Upstream) -> Answer:
    """Past the disk."""
    wanted = _wanted_ranges(pull)
    redirect = pull.route.registry.delivery == "Redirect" and pull.request.method == "GET"
    request = UpstreamRequest(
        _method(pull),
        pull.route.repository,
        "blobs",
        pull.request.reference,
        range=pull.headers["Range"] if wanted else None,
        follow_redirects=not redirect,
    )
    try:
        response = await upstream.send(request)
    except UpstreamForbidden:
        if len(wanted) < 2:
            raise
        # Google's storage refuses several ranges by 400. The stargz snapshotter then asks for one at a time.
        return Answer(400, {"Content-Length": "0"})
    if response.location is not None:
        response.release()
        return Answer(307, {"Location": str(response.location), "Docker-Content-Digest": pull.request.reference})
    headers = {name: response.headers[name] for name in _BLOB_HEADERS if name in response.headers}
    headers["Docker-Content-Digest"] = pull.request.reference
    headers.setdefault("Content-Type", "application/octet-stream")
    if response.status == 416:
        headers.pop("Content-Length", None)  # of the upstream's error, which is not sent on
    if pull.request.method == "HEAD" or response.status == 416:
        response.release()
        return Answer(response.status, headers)
    if len(wanted) > 1 and is_multipart(response):
        return Answer(206, headers, stream=PartsStream(response))
    if "Content-Length" not in headers and response.status == 206:
        response.release()
        raise UpstreamProtocol(upstream.config.host, "a part without its length")
    return Answer(response.status, headers, stream=stream_blob(upstream, request, response, current=pull.current))


def _wanted_ranges(pull: Pull) -> tuple[Range, ...]:
    """The parts of a blob that are asked for; If-Range with another validator asks for all (RFC 9110, 13.1.5).

    Raises TooManyRanges.
    """
    validator = pull.headers.get("If-Range")
    if validator is not None and validator != _etag(pull):
        return ()
    return parse_ranges(pull.headers.get("Range", ""))


def _etag(pull: Pull) -> str:
    return f'"{pull.request.reference}"'


def _answer_held(pull: Pull, held: Held, wanted: tuple[Range, ...]) -> Answer:
    """A blob from its file (RFC 9110, section 15.3.7)."""
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(held.size),
        "Docker-Content-Digest": pull.request.reference,
        "ETag": _etag(pull),
        "Accept-Ranges": "bytes",
        **_cache_headers(held.result),
    }
    parts = [part for each in wanted if (part := each.within(held.size)) is not None]
    if not wanted or (len(parts) > 1 and sum(end - first for first, end in parts) >= held.size):
        # Ranges that overlap would cost more than the whole (RFC 9110, section 14.2: they may be ignored).
        return Answer(200, headers, stream=held, cache=held.result)
    if not parts:
        headers |= {"Content-Range": f"bytes */{held.size}", "Content-Length": "0"}
        return Answer(416, headers, cache=held.result)
    if len(parts) > 1:
        body = Multipart(held, parts)
        headers |= {"Content-Type": body.content_type, "Content-Length": str(body.length)}
        return Answer(206, headers, cache=held.result, stream=body)
    first, end = parts[0]
    held.cut(first, end)
    headers |= {"Content-Range": f"bytes {first}-{end - 1}/{held.size}", "Content-Length": str(end - first)}
    return Answer(206, headers, cache=held.result, stream=held)
