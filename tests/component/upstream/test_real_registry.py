"""The client against a real docker-registry: open, with a password, with tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pullgate import faults
from pullgate.policy.tenancy import LOOPBACK
from pullgate.providers.credentials import Credentials
from pullgate.upstream.blob import stream_blob
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.login import check_login
from pullgate.upstream.request import UpstreamRequest
from tests.support.images import Image, image
from tests.support.upstreams.docker_registry import DockerRegistry

REPOSITORY = "my-org/api"
IMAGE = image("upstream", layers=1, layer_size=300_000)


@pytest.fixture(params=["none", "basic", "token"])
async def registry(request: pytest.FixtureRequest) -> AsyncIterator[DockerRegistry]:
    """One of each sort of authentication, with one image."""
    async with DockerRegistry(request.param) as running:
        await running.push(REPOSITORY, "1.0", IMAGE)
        yield running


def config_of(registry: DockerRegistry, password: str | None = None) -> UpstreamConfig:
    """The Registry for `registry`."""
    credentials = Credentials(registry.username, password or registry.password) if registry.username else None
    return UpstreamConfig(
        "my-app/real", "registry.test", registry.host, credentials, plain_http=True, networks=LOOPBACK
    )


async def download(upstream: Upstream, digest: str, range_: str | None = None) -> bytes:
    """The bytes of a blob, or of a part."""
    request = UpstreamRequest("GET", REPOSITORY, "blobs", digest, range=range_)
    stream = stream_blob(upstream, request, await upstream.send(request))
    return b"".join([chunk async for chunk in stream])


async def test_an_image_is_read_whole_by_tag_and_by_digest(registry: DockerRegistry) -> None:
    async with Upstream(config_of(registry)) as upstream:
        accept = (IMAGE.media_type,)
        for reference in ("1.0", IMAGE.digest):
            request = UpstreamRequest("GET", REPOSITORY, "manifests", reference, accept=accept)
            fetched = await upstream.fetch_manifest(request)
            resolved = await upstream.resolve_manifest(request)
            assert (fetched.body, fetched.media_type, fetched.digest) == (
                IMAGE.manifest,
                IMAGE.media_type,
                IMAGE.digest,
            )
            assert (resolved.digest, resolved.media_type, resolved.length) == (
                IMAGE.digest,
                IMAGE.media_type,
                len(IMAGE.manifest),
            )
        for digest, body in IMAGE.blobs.items():
            assert await download(upstream, digest) == body
            assert await download(upstream, digest, "bytes=10-") == body[10:]
            assert await download(upstream, digest, "bytes=10-19") == body[10:20]
            head = await upstream.send(UpstreamRequest("HEAD", REPOSITORY, "blobs", digest))
            assert head.length == len(body)
            head.release()
        tags = await upstream.send(UpstreamRequest("GET", REPOSITORY, "tags"))
        assert b'"1.0"' in await tags.read(4096)


async def test_what_is_not_there_is_told_by_kind(registry: DockerRegistry) -> None:
    missing = "sha256:" + "0" * 64
    async with Upstream(config_of(registry)) as upstream:
        with pytest.raises(faults.ManifestUnknown):
            await upstream.resolve_manifest(UpstreamRequest("HEAD", REPOSITORY, "manifests", "2.0"))
        with pytest.raises(faults.BlobUnknown):
            await upstream.send(UpstreamRequest("GET", REPOSITORY, "blobs", missing))
        with pytest.raises(faults.RepositoryUnknown):
            await upstream.send(UpstreamRequest("GET", "no/such", "tags"))


async def test_a_login_tells_right_credentials_from_wrong_ones(registry: DockerRegistry) -> None:
    right = await check_login(config_of(registry))
    assert right.authenticated
    if registry.auth != "none":
        wrong = await check_login(config_of(registry, password="CANARY-wrong"))
        assert isinstance(wrong.fault, faults.UpstreamUnauthorized)
        assert wrong.reachable


async def test_one_token_serves_all_requests_of_a_repository() -> None:
    async with DockerRegistry("token") as registry:
        await registry.push(REPOSITORY, "1.0", IMAGE)
        assert registry.tokens is not None
        async with Upstream(config_of(registry)) as upstream:
            for _ in range(3):
                await _pull(upstream, IMAGE)
        assert len(registry.tokens.requests) == 1


async def test_a_repository_that_the_credentials_may_not_read_is_forbidden() -> None:
    async with DockerRegistry("token") as registry:
        await registry.push(REPOSITORY, "1.0", IMAGE)
        assert registry.tokens is not None
        registry.tokens.unreadable.add(REPOSITORY)
        async with Upstream(config_of(registry)) as upstream:
            with pytest.raises(faults.UpstreamForbidden, match="may not read my-org/api on registry.test"):
                await _pull(upstream, IMAGE)


async def _pull(upstream: Upstream, wanted: Image) -> None:
    request = UpstreamRequest("GET", REPOSITORY, "manifests", "1.0", accept=(wanted.media_type,))
    await upstream.fetch_manifest(request)
    for digest, body in wanted.blobs.items():
        assert await download(upstream, digest) == body
