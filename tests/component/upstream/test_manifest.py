"""A manifest is the bytes that its digest names, however poor the registry's HEAD is."""

from __future__ import annotations

import hashlib

import pytest
from aiohttp import web

from pullgate import faults
from pullgate.upstream.client import Upstream
from pullgate.upstream.request import UpstreamRequest
from tests.component.upstream.stage import IMAGE_BODY, IMAGE_TYPE, Reply, Stage, digest_of, replies

TYPE, BODY = IMAGE_TYPE, IMAGE_BODY
DIGEST = digest_of(BODY)
GOOD = {"Content-Type": TYPE, "Docker-Content-Digest": DIGEST}


def request(reference: str = "1.0") -> UpstreamRequest:
    return UpstreamRequest("GET", "a/b", "manifests", reference)


async def test_a_manifest_with_other_bytes_than_its_digest_is_refused() -> None:
    async with Stage(lambda _: Reply(200, BODY + b" ", {"Content-Type": TYPE})) as stage:
        async with Upstream(stage.config()) as upstream:
            with pytest.raises(faults.DigestMismatch, match=f"registry.test sent other bytes than {DIGEST}"):
                await upstream.fetch_manifest(request(DIGEST))


async def test_a_manifest_with_other_bytes_than_its_header_says_is_refused() -> None:
    headers = GOOD | {"Docker-Content-Digest": "sha256:" + "0" * 64}
    async with Stage(lambda _: Reply(200, BODY, headers)) as stage, Upstream(stage.config()) as upstream:
        with pytest.raises(faults.DigestMismatch):
            await upstream.fetch_manifest(request())


@pytest.mark.parametrize("announced", ["", "sha256:short", "md5:" + "0" * 32, DIGEST.upper()])
async def test_a_digest_that_is_none_is_worked_out(announced: str) -> None:
    headers = {"Content-Type": TYPE} | ({"Docker-Content-Digest": announced} if announced else {})
    async with Stage(lambda _: Reply(200, BODY, headers)) as stage, Upstream(stage.config()) as upstream:
        assert (await upstream.fetch_manifest(request())).digest == DIGEST


async def test_a_sha512_digest_is_verified_too() -> None:
    digest = "sha512:" + hashlib.sha512(BODY).hexdigest()
    async with Stage(lambda _: Reply(200, BODY, {"Content-Type": TYPE})) as stage:
        async with Upstream(stage.config()) as upstream:
            assert (await upstream.fetch_manifest(request(digest))).digest == digest
            with pytest.raises(faults.DigestMismatch):
                await upstream.fetch_manifest(request("sha512:" + "0" * 128))


async def test_a_manifest_above_four_mebibytes_is_not_buffered() -> None:
    body = b" " * (4 * 1024 * 1024 + 1)
    for reply in (Reply(200, body), Reply(200, body, chunked=True)):
        async with Stage(replies(reply)) as stage, Upstream(stage.config()) as upstream:
            with pytest.raises(faults.UpstreamProtocol, match="larger than"):
                await upstream.fetch_manifest(request())
            assert len(stage.asked) == 1


async def test_a_compressed_manifest_is_refused() -> None:
    headers = GOOD | {"Content-Encoding": "gzip"}
    async with Stage(lambda _: Reply(200, BODY, headers)) as stage, Upstream(stage.config()) as upstream:
        with pytest.raises(faults.UpstreamProtocol, match="compressed"):
            await upstream.fetch_manifest(request())


async def test_a_manifest_that_breaks_off_is_asked_for_again() -> None:
    async with Stage(replies(Reply(200, BODY, GOOD, cut_after=10), Reply(200, BODY, GOOD))) as stage:
        async with Upstream(stage.config()) as upstream:
            assert (await upstream.fetch_manifest(request())).body == BODY
    async with Stage(lambda _: Reply(200, BODY, GOOD, cut_after=10)) as stage, Upstream(stage.config()) as upstream:
        with pytest.raises(faults.UpstreamProtocol, match="ended early"):
            await upstream.fetch_manifest(request())
        assert len(stage.asked) == 3


async def test_a_good_head_is_enough() -> None:
    headers = GOOD | {"Content-Length": str(len(BODY))}
    async with Stage(lambda _: Reply(200, b"", headers)) as stage, Upstream(stage.config()) as upstream:
        resolved = await upstream.resolve_manifest(request())
        assert (resolved.status, resolved.digest, resolved.media_type, resolved.length) == (
            200,
            DIGEST,
            TYPE,
            len(BODY),
        )
        assert [asked.method for asked in stage.asked] == ["HEAD"]


@pytest.mark.parametrize(
    "head",
    [
        Reply(404),
        Reply(405),
        Reply(200, b"", {"Content-Type": TYPE, "Content-Length": "5"}),
        Reply(200, b"", GOOD, chunked=True),
        Reply(200, b"", {"Docker-Content-Digest": DIGEST, "Content-Type": "", "Content-Length": "5"}),
        Reply(200, b"", {"Docker-Content-Digest": "sha256:x", "Content-Type": TYPE, "Content-Length": "5"}),
    ],
    ids=["404 of Nexus", "405", "no digest", "no length", "no type", "no real digest"],
)
async def test_a_head_that_tells_too_little_is_made_good_by_a_get(head: Reply) -> None:
    def script(asked: web.Request) -> Reply:
        return head if asked.method == "HEAD" else Reply(200, BODY, {"Content-Type": TYPE})

    async with Stage(script) as stage, Upstream(stage.config()) as upstream:
        resolved = await upstream.resolve_manifest(request())
        assert (resolved.status, resolved.digest, resolved.media_type, resolved.length) == (
            200,
            DIGEST,
            TYPE,
            len(BODY),
        )


async def test_a_head_with_another_digest_than_was_asked_for_is_not_believed() -> None:
    headers = {"Content-Type": TYPE, "Content-Length": "5", "Docker-Content-Digest": "sha256:" + "0" * 64}

    def script(asked: web.Request) -> Reply:
        return Reply(200, b"", headers) if asked.method == "HEAD" else Reply(200, BODY, {"Content-Type": TYPE})

    async with Stage(script) as stage, Upstream(stage.config()) as upstream:
        assert (await upstream.resolve_manifest(request(DIGEST))).digest == DIGEST


async def test_a_manifest_that_is_nowhere_is_unknown() -> None:
    async with Stage(lambda _: Reply(404)) as stage, Upstream(stage.config()) as upstream:
        with pytest.raises(faults.ManifestUnknown, match=r"a/b:1\.0 is not on registry\.test"):
            await upstream.resolve_manifest(request())
        stage.script = lambda _: Reply(404, b'{"errors":[{"code":"NAME_UNKNOWN","message":"x"}]}')
        with pytest.raises(faults.RepositoryUnknown):
            await upstream.resolve_manifest(request())


async def test_a_missing_media_type_is_taken_from_the_manifest() -> None:
    async with Stage(lambda _: Reply(200, BODY, {"Content-Type": "text/plain; charset=utf-8"})) as stage:
        async with Upstream(stage.config()) as upstream:
            assert (await upstream.fetch_manifest(request())).media_type == TYPE


async def test_a_huge_error_is_not_read() -> None:
    body = b'{"errors":[{"code":"NAME_UNKNOWN","message":"' + b"x" * 20_000 + b'"}]}'
    async with Stage(lambda _: Reply(404, body)) as stage, Upstream(stage.config()) as upstream:
        with pytest.raises(faults.ManifestUnknown):
            await upstream.fetch_manifest(request())


async def test_a_registry_without_referrers_is_no_missing_repository() -> None:
    wanted = UpstreamRequest("GET", "a/b", "referrers", DIGEST)
    async with Stage(lambda _: Reply(404, b"404 page not found")) as stage, Upstream(stage.config()) as upstream:
        with pytest.raises(faults.ManifestUnknown):
            await upstream.send(wanted)
