"""One request never decides for everybody: only an upstream that cannot be reached, or fails at many, is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from aiohttp import web

from pullgate import faults
from pullgate.oci.manifest import MANIFEST_TYPES
from pullgate.upstream.breaker import FAILURES, FIRST_PAUSE
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import Timeouts, UpstreamConfig
from pullgate.upstream.request import UpstreamRequest
from tests.component.upstream.stage import Reply, Stage
from tests.component.upstream.test_breaker import Clock
from tests.support.ports import free_port

BODY = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST_TYPES[0], "manifests": []}).encode()
GOOD = Reply(200, BODY, {"Content-Type": MANIFEST_TYPES[0]})
MANIFEST = UpstreamRequest("GET", "my-org/api", "manifests", "1.0", accept=MANIFEST_TYPES)
DIGEST = "sha256:" + "0" * 64
BLOB = UpstreamRequest("GET", "my-org/api", "blobs", DIGEST)
TAGS = UpstreamRequest("GET", "my-org/api", "tags", "list", query="last=x")
REFERRERS = UpstreamRequest("GET", "my-org/api", "referrers", DIGEST)


def numbered(request: UpstreamRequest, number: int) -> UpstreamRequest:
    """Another request of the same kind."""
    return replace(request, repository=f"my-org/api-{number}")


def bad_at(part: str, bad: Reply) -> Callable[[web.Request], Reply]:
    """`bad` for paths with `part`, the manifest for all others."""
    return lambda request: bad if part in request.path else GOOD


async def failures_of(upstream: Upstream, *requests: UpstreamRequest) -> list[faults.Fault]:
    """The faults that the requests meet, one after the other."""
    found: list[faults.Fault] = []
    for request in requests:
        try:
            (await upstream.send(request)).release()
        except faults.Fault as fault:
            found.append(fault)
    return found


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        # ECR Public, of a parameter that it does not know (drydock#927).
        pytest.param(TAGS, 405, id="ECR Public refuses tags/list?last="),
        # Quay, of a namespace that its owner disabled (auth/registry_jwt_auth.py).
        pytest.param(MANIFEST, 405, id="Quay has disabled the namespace"),
        # Nexus, of a request to a port without a registry.
        pytest.param(MANIFEST, 400, id="Nexus says that it is no Docker request"),
        pytest.param(BLOB, 451, id="the blob may not be sent for legal reasons"),
        pytest.param(BLOB, 410, id="the blob is gone"),
        pytest.param(TAGS, 501, id="the registry has no such list"),
    ],
)
async def test_a_refusal_of_one_request_is_a_4xx_and_cuts_nobody_off(request_: UpstreamRequest, status: int) -> None:
    script = bad_at(f"/{request_.kind}/{request_.reference}", Reply(status))
    async with Stage(script) as stage, Upstream(stage.config()) as upstream:
        asked = [numbered(request_, number) for number in range(3 * FAILURES)]
        for fault in await failures_of(upstream, *asked):
            assert (type(fault), fault.status, fault.code) == (faults.UpstreamForbidden, 403, "DENIED")
            assert f"answered {status}" in fault.message
        assert len(stage.asked) == 3 * FAILURES
        assert not upstream.is_down
        assert (await upstream.fetch_manifest(replace(MANIFEST, reference="2.0"))).body == BODY


@pytest.mark.parametrize("status", [500, 503])
async def test_one_request_that_meets_5xx_again_and_again_cuts_nobody_off(status: int) -> None:
    async with Stage(bad_at("/manifests/1.0", Reply(status))) as stage, Upstream(stage.config()) as upstream:
        found = await failures_of(upstream, *[MANIFEST] * (2 * FAILURES))
        assert {fault.reason for fault in found} == {"UpstreamError"}
        assert not upstream.is_down
        assert (await upstream.fetch_manifest(replace(MANIFEST, reference="2.0"))).body == BODY


async def test_different_requests_that_meet_5xx_mean_that_the_upstream_is_down() -> None:
    async with Stage(lambda _: Reply(500)) as stage, Upstream(stage.config()) as upstream:
        await failures_of(upstream, *[numbered(MANIFEST, number) for number in range(FAILURES)])
        assert upstream.is_down


async def test_lists_that_a_registry_does_not_have_say_nothing_of_its_images() -> None:
    async with Stage(bad_at("/referrers/", Reply(500))) as stage, Upstream(stage.config()) as upstream:
        await failures_of(upstream, *[numbered(REFERRERS, number) for number in range(2 * FAILURES)])
        assert not upstream.is_down


async def test_a_slow_first_byte_cuts_nobody_off() -> None:
    async with Stage(bad_at("/blobs/", Reply(silent=True))) as stage:
        async with Upstream(stage.config(timeouts=Timeouts(first_byte=0.05, blob_first_byte=0.05))) as upstream:
            found = await failures_of(upstream, *[numbered(BLOB, number) for number in range(2 * FAILURES)])
            assert [fault.reason for fault in found] == ["UpstreamTimeout"] * 2 * FAILURES
            assert not upstream.is_down
            assert (await upstream.fetch_manifest(MANIFEST)).body == BODY


async def test_a_storage_that_fails_or_is_gone_leaves_the_manifests() -> None:
    gone = f"https://127.0.0.2:{free_port('127.0.0.2')}/x"
    async with Stage(lambda _: Reply(503), bind="127.0.0.2") as storage:
        for target in (f"{storage.url}/x", gone):
            script = bad_at("/blobs/", Reply(307, b"", {"Location": target}))
            async with Stage(script) as stage, Upstream(stage.config(allow_private=True)) as upstream:
                found = await failures_of(upstream, *[numbered(BLOB, number) for number in range(FAILURES)])
                assert len(found) == FAILURES
                assert not upstream.is_down
                assert (await upstream.fetch_manifest(MANIFEST)).body == BODY


async def test_a_refusal_of_the_storage_is_a_4xx_with_its_status() -> None:
    # S3, of a signature that ran out, or of a VPC endpoint whose policy lacks ECR's bucket.
    async with Stage(lambda _: Reply(403, b"<Error><Code>AccessDenied</Code></Error>"), bind="127.0.0.2") as storage:
        script = bad_at("/blobs/", Reply(307, b"", {"Location": storage.url + "/x"}))
        async with Stage(script) as stage, Upstream(stage.config(allow_private=True)) as upstream:
            with pytest.raises(faults.UpstreamForbidden, match="127.0.0.2 .for registry.test. refuses .*answered 403"):
                await upstream.send(BLOB)


async def test_a_rate_limit_of_manifests_leaves_the_blobs() -> None:
    # Docker Hub counts and limits manifests alone (docs.docker.com, "Usage and limits").
    limited = Reply(429, b"", {"Retry-After": "600"})
    async with Stage(bad_at("/manifests/", limited)) as stage, Upstream(stage.config()) as upstream:
        assert len(await failures_of(upstream, MANIFEST, numbered(MANIFEST, 1))) == 2
        assert len(stage.asked) == 1
        assert await failures_of(upstream, BLOB) == []


async def test_a_rate_limit_of_the_storage_is_not_the_registrys() -> None:
    async with Stage(lambda _: Reply(429, b"", {"Retry-After": "600"}), bind="127.0.0.2") as storage:
        script = bad_at(f"api/blobs/{DIGEST}", Reply(307, b"", {"Location": storage.url + "/x"}))
        async with Stage(script) as stage, Upstream(stage.config(allow_private=True)) as upstream:
            assert [fault.reason for fault in await failures_of(upstream, BLOB)] == ["UpstreamError"]
            assert await failures_of(upstream, numbered(BLOB, 1)) == []


async def test_after_an_outage_one_request_that_still_fails_lets_the_others_ask() -> None:
    clock = Clock()
    async with Stage(lambda _: Reply(500)) as stage:
        config: UpstreamConfig = stage.config()
        async with Upstream(config, clock=clock) as upstream:
            await failures_of(upstream, *[numbered(MANIFEST, number) for number in range(FAILURES)])
            stage.script = bad_at("/manifests/1.0", Reply(500))
            clock.now += FIRST_PAUSE
            await failures_of(upstream, MANIFEST)
            assert upstream.is_down
            clock.now += 2 * FIRST_PAUSE
            asked = len(stage.asked)
            assert "asked again" in (await failures_of(upstream, MANIFEST))[0].message
            assert len(stage.asked) == asked
            assert (await upstream.fetch_manifest(replace(MANIFEST, reference="2.0"))).body == BODY
            assert not upstream.is_down
