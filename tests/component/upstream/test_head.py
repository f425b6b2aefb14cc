"""HEAD proves only success: a GET decides whatever else it brings."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pullgate import faults
from pullgate.oci.reference import Reference
from pullgate.policy.tenancy import LOOPBACK
from pullgate.providers.credentials import Credentials
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.probe import ProbeOptions, check_image, probe_all, vendor_target
from pullgate.upstream.request import UpstreamRequest
from tests.support.content import digest_of
from tests.support.images import image
from tests.support.upstreams import S3Like, ScriptedRegistry
from tests.support.upstreams import faults as spoil

REPOSITORY = "my-org/api"
IMAGE = image("head", layers=2)
LAYER = IMAGE.layers[0]
SIZE = len(IMAGE.blobs[LAYER])
CHALLENGE_OF_ECR_PUBLIC = 'Bearer realm="{realm}",service="public.ecr.aws",scope="aws"'
"""aws/containers-roadmap#2671: the answer to HEAD of a blob, with and without a token."""


@pytest.fixture
async def registry() -> AsyncIterator[ScriptedRegistry]:
    async with ScriptedRegistry("token") as running:
        running.add(REPOSITORY, "1.0", IMAGE)
        yield running


def config_of(registry: ScriptedRegistry) -> UpstreamConfig:
    credentials = Credentials(registry.username, registry.password)
    return UpstreamConfig(
        "my-app/ecr",
        "public.ecr.aws",
        registry.host,
        credentials,
        plain_http=True,
        allow_private=True,
        networks=LOOPBACK,
    )


def head(digest: str = LAYER) -> UpstreamRequest:
    return UpstreamRequest("HEAD", REPOSITORY, "blobs", digest)


def refuse_head(registry: ScriptedRegistry, status: int, path: str = "/blobs/") -> None:
    if status == 401:
        registry.on("HEAD", path, spoil.challenge(CHALLENGE_OF_ECR_PUBLIC.format(realm=registry.url + "/token")))
    else:
        registry.on("HEAD", path, spoil.answer(status))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500, 501, 503])
async def test_a_blob_that_head_denies_is_found_by_a_get_of_one_byte(registry: ScriptedRegistry, status: int) -> None:
    refuse_head(registry, status)
    async with Upstream(config_of(registry)) as upstream:
        found = await upstream.send(head())
    assert (found.status, found.length) == (200, SIZE)
    assert {r.headers.get("Range") for r in registry.received("GET", "/blobs/")} == {"bytes=0-0"}
    assert registry.body_bytes < SIZE + 20_000


@pytest.mark.parametrize("ranges", [True, False])
async def test_the_body_of_the_get_is_not_read_from_an_upstream_that_ignores_ranges(
    registry: ScriptedRegistry, ranges: bool
) -> None:
    registry.ranges = ranges
    refuse_head(registry, 401)
    async with Upstream(config_of(registry)) as upstream:
        found = await upstream.send(head())
        assert (found.status, found.length) == (200, SIZE)
        assert "Content-Range" not in found.headers


async def test_an_empty_blob_has_no_first_byte_and_is_there(registry: ScriptedRegistry) -> None:
    refuse_head(registry, 401)
    # distribution answers a range of an empty blob so (RFC 9110, section 15.5.17)
    registry.on("GET", "/blobs/", spoil.answer(416, headers={"Content-Range": "bytes */0"}), after_login=True)
    async with Upstream(config_of(registry)) as upstream:
        found = await upstream.send(head())
        assert (found.status, found.length) == (200, 0)


async def test_a_redirect_of_the_get_proves_that_the_blob_is_there(registry: ScriptedRegistry) -> None:
    refuse_head(registry, 401)
    async with S3Like() as store, Upstream(config_of(registry)) as upstream:
        registry.blob_store = store
        request = UpstreamRequest("HEAD", REPOSITORY, "blobs", LAYER, follow_redirects=False)
        assert (await upstream.send(request)).location is not None


async def test_a_blob_that_the_get_does_not_find_either_is_unknown(registry: ScriptedRegistry) -> None:
    refuse_head(registry, 401)
    async with Upstream(config_of(registry)) as upstream:
        with pytest.raises(faults.BlobUnknown):
            await upstream.send(head(digest_of(b"another")))


async def test_head_is_not_tried_for_each_blob_where_it_was_refused(registry: ScriptedRegistry) -> None:
    refuse_head(registry, 401)
    async with Upstream(config_of(registry)) as upstream:
        for _ in range(10):
            await upstream.send(head())
    assert len(registry.received("HEAD")) <= 2
    assert len(registry.received(".*", "/token")) <= 2


async def test_a_rate_limit_at_head_is_not_asked_about_again(registry: ScriptedRegistry) -> None:
    registry.on("HEAD", "/(blobs|manifests)/", spoil.rate_limited("42"), after_login=True)
    async with Upstream(config_of(registry)) as upstream:
        with pytest.raises(faults.UpstreamRateLimited):
            await upstream.send(head())
    async with Upstream(config_of(registry)) as upstream:
        with pytest.raises(faults.UpstreamRateLimited):
            await upstream.resolve_manifest(UpstreamRequest("HEAD", REPOSITORY, "manifests", "1.0"))
    assert registry.received("GET", "/(blobs|manifests)/") == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500, 501, 503])
async def test_a_manifest_that_head_denies_is_decided_by_a_get(registry: ScriptedRegistry, status: int) -> None:
    refuse_head(registry, status, "/manifests/")
    async with Upstream(config_of(registry)) as upstream:
        found = await upstream.resolve_manifest(UpstreamRequest("HEAD", REPOSITORY, "manifests", "1.0"))
    assert (found.status, found.digest) == (200, IMAGE.digest)
    assert await check_image(config_of(registry), f"{REPOSITORY}:1.0") is None


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_an_image_of_an_upstream_that_refuses_head_passes_its_test(
    registry: ScriptedRegistry, status: int
) -> None:
    refuse_head(registry, status)
    refuse_head(registry, status, "/manifests/")
    target = vendor_target(f"{REPOSITORY}:1.0", Reference("public.ecr.aws", REPOSITORY, "1.0"), config_of(registry))
    (result,) = await probe_all([target], ProbeOptions())
    assert (result.passed, result.reason) == (True, "")
