"""A blob is handed on as it comes, resumed where it breaks, and never ended cleanly with bytes that are not its own."""

from __future__ import annotations

import asyncio
import gzip
import random
import re
from pathlib import Path

import pytest
from aiohttp import web

from pullgate import faults
from pullgate.upstream.blob import RESUMES, stream_blob
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import Timeouts
from pullgate.upstream.large_body import BIG_BODIES, LARGE, _bodies_with_big
from pullgate.upstream.request import UpstreamRequest
from tests.component.upstream.certificates import authority, server_context
from tests.component.upstream.stage import Reply, Stage, digest_of, replies

BODY = random.Random(1).randbytes(1_000_000)
DIGEST = digest_of(BODY)
ETAG = '"strong"'


def request(range_: str | None = None, digest: str = DIGEST) -> UpstreamRequest:
    return UpstreamRequest("GET", "a/b", "blobs", digest, range=range_)


def part(asked: web.Request, cut_after: int | None = None, *, body: bytes = BODY, total: int | None = None) -> Reply:
    """The answer of a registry that supports ranges; the connection is cut after `cut_after` bytes."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("Range", ""))
    if match is None:
        return Reply(200, body, {"ETag": ETAG}, cut_after=cut_after)
    first, last = int(match[1]), int(match[2] or len(body) - 1)
    headers = {"Content-Range": f"bytes {first}-{last}/{total or len(body)}", "ETag": ETAG}
    return Reply(206, body[first : last + 1], headers, cut_after=cut_after)


async def received(upstream: Upstream, wanted: UpstreamRequest) -> tuple[bytes, faults.Fault | None]:
    """The bytes that were handed out, and the fault that ended them."""
    got = bytearray()
    stream = stream_blob(upstream, wanted, await upstream.send(wanted))
    try:
        async for chunk in stream:
            got += chunk
    except faults.Fault as fault:
        return bytes(got), fault
    finally:
        await stream.aclose()
    return bytes(got), None


async def test_a_broken_body_is_resumed_where_it_broke() -> None:
    async with Stage(lambda asked: part(asked, 300_000)) as stage, Upstream(stage.config()) as upstream:
        assert await received(upstream, request()) == (BODY, None)
        ranges = [asked.headers.get("Range") for asked in stage.asked]
        assert ranges == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]
        assert {asked.headers.get("If-Range") for asked in stage.asked[1:]} == {ETAG}


async def test_a_weak_etag_guards_no_range() -> None:
    def script(asked: web.Request) -> Reply:
        reply = part(asked, 600_000)
        return Reply(reply.status, reply.body, {**reply.headers, "ETag": 'W/"weak"'}, cut_after=600_000)

    async with Stage(script) as stage, Upstream(stage.config()) as upstream:
        assert await received(upstream, request()) == (BODY, None)
        assert "If-Range" not in stage.asked[1].headers


async def test_a_broken_part_is_resumed_within_its_bounds() -> None:
    async with Stage(lambda asked: part(asked, 100_000)) as stage, Upstream(stage.config()) as upstream:
        assert await received(upstream, request("bytes=10-249999")) == (BODY[10:250_000], None)
        ranges = [asked.headers["Range"] for asked in stage.asked]
        assert ranges == ["bytes=10-249999", "bytes=100010-249999", "bytes=200010-249999"]


async def test_a_stalled_body_is_resumed() -> None:
    def script(asked: web.Request) -> Reply:
        return part(asked) if "Range" in asked.headers else Reply(200, BODY, stall_after=100_000)

    async with Stage(script) as stage, Upstream(stage.config(timeouts=Timeouts(idle=0.2))) as upstream:
        assert await received(upstream, request()) == (BODY, None)


async def test_a_client_that_reads_slowly_is_no_stalled_upstream() -> None:
    large = BODY * 20
    wanted = request(digest=digest_of(large))
    async with Stage(lambda _: Reply(200, large)) as stage:
        async with Upstream(stage.config(timeouts=Timeouts(idle=0.1))) as upstream:
            response = await upstream.send(wanted)
            await asyncio.sleep(0.4)
            stream = stream_blob(upstream, wanted, response)
            got = bytearray(await anext(stream))
            await asyncio.sleep(0.4)
            async for chunk in stream:
                got += chunk
            assert bytes(got) == large
            assert len(stage.asked) == 1


async def test_an_upstream_without_ranges_starts_again_and_the_known_bytes_are_left_out() -> None:
    async with Stage(replies(Reply(200, BODY, cut_after=400_000), Reply(200, BODY))) as stage:
        async with Upstream(stage.config()) as upstream:
            assert await received(upstream, request()) == (BODY, None)


async def test_a_part_is_not_made_good_by_the_whole() -> None:
    def script(asked: web.Request) -> Reply:
        return part(asked, 1000) if len(stage.asked) == 1 else Reply(200, BODY)

    async with Stage(script) as stage, Upstream(stage.config()) as upstream:
        got, fault = await received(upstream, request("bytes=10-"))
        assert isinstance(fault, faults.UpstreamProtocol)
        assert BODY[10:].startswith(got)


async def test_the_last_bytes_are_held_back_until_the_digest_is_right() -> None:
    wrong = BODY[:-1] + bytes([BODY[-1] ^ 1])
    async with Stage(lambda _: Reply(200, wrong)) as stage, Upstream(stage.config()) as upstream:
        got, fault = await received(upstream, request())
        assert isinstance(fault, faults.DigestMismatch)
        assert len(got) < len(BODY)


async def test_a_small_blob_with_wrong_bytes_is_not_handed_out_at_all() -> None:
    async with Stage(lambda _: Reply(200, b"evil")) as stage, Upstream(stage.config()) as upstream:
        got, fault = await received(upstream, request())
        assert got == b""
        assert isinstance(fault, faults.DigestMismatch)


async def test_other_bytes_after_a_resume_are_found() -> None:
    other = BODY[:500_000] + bytes(500_000)

    def script(asked: web.Request) -> Reply:
        return part(asked, body=other) if "Range" in asked.headers else part(asked, 500_000)

    async with Stage(script) as stage, Upstream(stage.config()) as upstream:
        got, fault = await received(upstream, request())
        assert isinstance(fault, faults.DigestMismatch)
        assert len(got) < len(BODY)


async def test_an_end_without_a_length_is_judged_by_the_digest() -> None:
    async with Stage(lambda _: Reply(200, BODY[:1000], chunked=True)) as stage, Upstream(stage.config()) as upstream:
        got, fault = await received(upstream, request())
        assert isinstance(fault, faults.DigestMismatch)
        assert got == b""


async def test_resuming_ends_when_it_brings_nothing() -> None:
    def script(asked: web.Request) -> Reply:
        return part(asked, 0) if "Range" in asked.headers else part(asked, 1000)

    async with Stage(script) as stage, Upstream(stage.config()) as upstream:
        got, fault = await received(upstream, request())
        assert isinstance(fault, faults.UpstreamProtocol)
        assert len(stage.asked) == 2
        assert len(got) <= 1000


async def test_resuming_ends_after_a_few_times() -> None:
    async with Stage(lambda asked: part(asked, 1000)) as stage, Upstream(stage.config()) as upstream:
        got, fault = await received(upstream, request())
        assert isinstance(fault, faults.UpstreamProtocol)
        assert len(stage.asked) == 1 + RESUMES
        assert BODY.startswith(got)


@pytest.mark.parametrize(
    "content_range", ["", "bytes 0-9/1000000", "bytes 500-499/1000000", "bytes */1000000", "bytes 10-2000000/1000000"]
)
async def test_a_part_that_was_not_asked_for_is_refused(content_range: str) -> None:
    async with Stage(lambda _: Reply(206, BODY[:10], {"Content-Range": content_range})) as stage:
        async with Upstream(stage.config()) as upstream:
            with pytest.raises(faults.UpstreamProtocol, match="another part"):
                await upstream.send(request("bytes=10-"))


async def test_a_resume_of_another_length_is_refused() -> None:
    def script(asked: web.Request) -> Reply:
        return part(asked, total=2_000_000) if "Range" in asked.headers else part(asked, 1000)

    async with Stage(script) as stage, Upstream(stage.config()) as upstream:
        _, fault = await received(upstream, request())
        assert isinstance(fault, faults.UpstreamProtocol)
        assert "another length" in fault.message


@pytest.mark.parametrize("knows_ranges", [True, False])
async def test_a_rest_that_is_too_long_brings_no_wrong_byte_to_the_end(knows_ranges: bool) -> None:
    def script(asked: web.Request) -> Reply:
        if "Range" not in asked.headers:
            return part(asked, 300_000)
        longer = bytes(2 * len(BODY))
        if not knows_ranges:
            return Reply(200, longer)
        return Reply(206, longer, {"Content-Range": f"bytes 300000-{len(BODY) - 1}/{len(BODY)}", "ETag": ETAG})

    async with Stage(script) as stage, Upstream(stage.config()) as upstream:
        got, fault = await received(upstream, request())
        assert isinstance(fault, faults.UpstreamProtocol)
        assert len(got) < len(BODY)


async def test_the_last_bytes_of_a_blob_can_be_asked_for() -> None:
    def script(_: web.Request) -> Reply:
        return Reply(206, BODY[-100:], {"Content-Range": "bytes 999900-999999/1000000"})

    async with Stage(script) as stage, Upstream(stage.config()) as upstream:
        assert await received(upstream, request("bytes=-100")) == (BODY[-100:], None)


async def test_a_range_beyond_the_end_passes_as_it_is() -> None:
    async with Stage(lambda _: Reply(416, b"", {"Content-Range": "bytes */10"})) as stage:
        async with Upstream(stage.config()) as upstream:
            response = await upstream.send(request("bytes=10-"))
            response.release()
            assert response.status == 416


async def test_a_stream_that_is_not_begun_gives_its_connection_back() -> None:
    async with Stage(lambda _: Reply(200, BODY)) as stage, Upstream(stage.config()) as upstream:
        response = await upstream.send(request())
        await stream_blob(upstream, request(), response).aclose()
        assert response._raw.closed


async def test_a_blob_that_is_called_compressed_is_handed_on_as_it_is() -> None:
    packed = gzip.compress(BODY[:1000])
    headers = {"Content-Encoding": "gzip"}
    async with Stage(lambda _: Reply(200, packed, headers)) as stage, Upstream(stage.config()) as upstream:
        assert await received(upstream, request(digest=digest_of(packed))) == (packed, None)


async def test_an_empty_blob_is_a_blob() -> None:
    empty = digest_of(b"")
    async with Stage(lambda _: Reply(200, b"")) as stage, Upstream(stage.config()) as upstream:
        assert await received(upstream, request(digest=empty)) == (b"", None)


# Large bodies are read beside aiohttp's parser (upstream/large_body.py): the same must hold for them.

LARGE_BODY = random.Random(2).randbytes(LARGE) + BODY
LARGE_DIGEST = digest_of(LARGE_BODY)


def large_request(range_: str | None = None) -> UpstreamRequest:
    return request(range_, LARGE_DIGEST)


async def test_a_large_body_is_handed_on_whole_again_and_again() -> None:
    async with Stage(lambda asked: part(asked, body=LARGE_BODY)) as stage, Upstream(stage.config()) as upstream:
        for _ in range(3):
            assert await received(upstream, large_request()) == (LARGE_BODY, None)


async def test_more_large_bodies_at_once_than_have_big_buffers_all_come_whole() -> None:
    async with Stage(lambda asked: part(asked, body=LARGE_BODY)) as stage, Upstream(stage.config()) as upstream:
        found = await asyncio.gather(*(received(upstream, large_request()) for _ in range(2 * BIG_BODIES)))
        assert all(each == (LARGE_BODY, None) for each in found)


async def test_a_large_body_over_tls_is_handed_on_whole(tmp_path: Path) -> None:
    async with Stage(lambda asked: part(asked, body=LARGE_BODY), tls=server_context(tmp_path)) as stage:
        async with Upstream(stage.config(ca_pem=authority().pem, plain_http=False)) as upstream:
            assert await received(upstream, large_request()) == (LARGE_BODY, None)


@pytest.mark.parametrize("cut_after", [0, 1000, 1_500_000, len(LARGE_BODY) - 1])
async def test_a_broken_large_body_is_resumed_where_it_broke(cut_after: int) -> None:
    def script(asked: web.Request) -> Reply:
        return part(asked, None if "Range" in asked.headers else cut_after, body=LARGE_BODY)

    async with Stage(script) as stage, Upstream(stage.config()) as upstream:
        assert await received(upstream, large_request()) == (LARGE_BODY, None)
        assert [asked.headers.get("Range") for asked in stage.asked] == [None, f"bytes={cut_after}-"]


async def test_a_large_body_that_begins_again_leaves_the_known_bytes_out() -> None:
    async with Stage(replies(Reply(200, LARGE_BODY, cut_after=2_000_000), Reply(200, LARGE_BODY))) as stage:
        async with Upstream(stage.config()) as upstream:
            assert await received(upstream, large_request()) == (LARGE_BODY, None)


async def test_a_stalled_large_body_is_resumed() -> None:
    def script(asked: web.Request) -> Reply:
        return part(asked, body=LARGE_BODY) if "Range" in asked.headers else Reply(200, LARGE_BODY, stall_after=900_000)

    async with Stage(script) as stage, Upstream(stage.config(timeouts=Timeouts(idle=0.2))) as upstream:
        assert await received(upstream, large_request()) == (LARGE_BODY, None)


async def test_the_last_bytes_of_a_large_body_are_held_back_until_the_digest_is_right() -> None:
    wrong = LARGE_BODY[:-1] + bytes([LARGE_BODY[-1] ^ 1])
    async with Stage(lambda _: Reply(200, wrong)) as stage, Upstream(stage.config()) as upstream:
        got, fault = await received(upstream, large_request())
        assert isinstance(fault, faults.DigestMismatch)
        assert len(got) < len(LARGE_BODY)


async def test_a_part_of_a_large_body_is_handed_on_as_it_is() -> None:
    async with Stage(lambda asked: part(asked, body=LARGE_BODY)) as stage, Upstream(stage.config()) as upstream:
        assert await received(upstream, large_request("bytes=10-")) == (LARGE_BODY[10:], None)


async def test_a_large_body_that_is_left_in_its_middle_frees_its_big_buffers() -> None:
    async with Stage(lambda asked: part(asked, body=LARGE_BODY)) as stage, Upstream(stage.config()) as upstream:
        for _ in range(2 * BIG_BODIES):
            stream = stream_blob(upstream, large_request(), await upstream.send(large_request()))
            for _ in range(3):
                await anext(stream)
            await stream.aclose()
        assert not _bodies_with_big
