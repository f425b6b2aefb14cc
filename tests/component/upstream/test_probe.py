"""Is it pullable? Straight from an upstream: what each depth finds, what is tried again, and what is asked at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from pullgate.oci.reference import Reference
from pullgate.policy.tenancy import LOOPBACK
from pullgate.providers.credentials import Credentials
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.probe import (
    Depth,
    ImageResult,
    ProbeOptions,
    ProbeTarget,
    check_image,
    probe,
    probe_all,
    vendor_target,
)
from tests.component.upstream.stage import IMAGE_BODY, IMAGE_TYPE, Stage
from tests.component.upstream.stage import Reply as StageReply
from tests.support.content import digest_of
from tests.support.images import artifact, image, index, large_image
from tests.support.ports import free_port
from tests.support.upstreams import DockerRegistry, Ending, ScriptedRegistry, faults

REPOSITORY = "my-org/api"
IMAGE = image("probe", layers=2)
TWO = index([image("probe amd64"), image("probe arm64", architecture="arm64")])
DEPTHS: tuple[Depth, ...] = ("Manifest", "Blobs", "Download")


@pytest.fixture
async def registry() -> AsyncIterator[ScriptedRegistry]:
    """A scripted registry with one image and one index."""
    async with ScriptedRegistry() as running:
        running.add(REPOSITORY, "1.0", IMAGE)
        running.add(REPOSITORY, "two", TWO)
        yield running


def config_of(registry: ScriptedRegistry | DockerRegistry, password: str | None = None) -> UpstreamConfig:
    credentials = Credentials(registry.username, password or registry.password) if registry.username else None
    return UpstreamConfig("my-app/quay", "quay.test", registry.host, credentials, plain_http=True, networks=LOOPBACK)


def target(config: UpstreamConfig, tag: str = "1.0", repository: str = REPOSITORY) -> ProbeTarget:
    return vendor_target(f"quay.test/{repository}:{tag}", Reference("quay.test", repository, tag), config)


async def run(
    registry: ScriptedRegistry | DockerRegistry, *tags: str, depth: Depth = "Blobs", **options: object
) -> list[ImageResult]:
    config = config_of(registry)
    targets = [target(config, tag) for tag in tags or ("1.0",)]
    return await probe_all(targets, ProbeOptions(depth=depth, **options))  # type: ignore[arg-type]


def outcomes(results: Sequence[ImageResult]) -> list[str]:
    return [result.reason or "passed" for result in results]


@pytest.mark.parametrize("depth", DEPTHS)
async def test_each_depth_passes_a_whole_image_and_asks_no_more_than_it_must(
    registry: ScriptedRegistry, depth: Depth
) -> None:
    (result,) = await run(registry, depth=depth)
    assert result.passed
    assert result.digest == IMAGE.digest
    assert result.size == sum(map(len, IMAGE.blobs.values()))
    assert (result.reason, result.message, result.hint) == ("", "", "")
    assert result.image == "quay.test/my-org/api:1.0"
    heads, gets = (len(registry.received(method, "/blobs/")) for method in ("HEAD", "GET"))
    assert (heads, gets) == {"Manifest": (0, 0), "Blobs": (3, 0), "Download": (0, 3)}[depth]


@pytest.mark.parametrize("auth", ["none", "basic", "token"])
async def test_a_real_registry_is_probed_with_every_sort_of_login(auth: str) -> None:
    async with DockerRegistry(auth) as real:  # type: ignore[arg-type]
        await real.push(REPOSITORY, "1.0", TWO)
        for depth in DEPTHS:
            results = await run(real, "1.0", "no-such", depth=depth)
            assert outcomes(results) == ["passed", "ManifestUnknown"]
            assert [row.platform for row in results[0].platforms] == ["linux/amd64", "linux/arm64"]
        if auth != "none":
            config = config_of(real, password="CANARY-wrong")
            assert outcomes(await probe_all([target(config)], ProbeOptions())) == ["UpstreamUnauthorized"]


@pytest.mark.parametrize(
    ("depth", "outcome"), [("Manifest", "passed"), ("Blobs", "BlobUnknown"), ("Download", "BlobUnknown")]
)
async def test_a_missing_layer_is_found_where_layers_are_asked(
    registry: ScriptedRegistry, depth: Depth, outcome: str
) -> None:
    registry.on(".*", f"/blobs/{IMAGE.layers[1]}", faults.refuse(404, "BLOB_UNKNOWN"))
    results = await run(registry, depth=depth)
    assert outcomes(results) == [outcome]
    if outcome != "passed":
        assert IMAGE.layers[1] in results[0].message
        assert results[0].platforms[0].reason == outcome
        assert results[0].digest == IMAGE.digest


@pytest.mark.parametrize(
    ("depth", "outcome"), [("Manifest", "passed"), ("Blobs", "passed"), ("Download", "DigestMismatch")]
)
async def test_a_corrupt_layer_is_found_where_every_byte_is_read(
    registry: ScriptedRegistry, depth: Depth, outcome: str
) -> None:
    registry.on("GET", f"/blobs/{IMAGE.layers[0]}", faults.corrupt(7))
    assert outcomes(await run(registry, depth=depth)) == [outcome]


async def test_a_large_layer_is_read_in_pieces(registry: ScriptedRegistry) -> None:
    large = large_image(48 * 2**20)
    registry.add(REPOSITORY, "large", large)
    (result,) = await run(registry, "large", depth="Download")
    assert result.passed
    assert result.size > 48 * 2**20


async def test_a_layer_of_another_length_than_its_manifest_says_is_found(registry: ScriptedRegistry) -> None:
    registry.on("HEAD", f"/blobs/{IMAGE.layers[0]}", faults.header("Content-Length", "5"))
    results = await run(registry)
    assert outcomes(results) == ["UpstreamProtocol"]
    assert "its manifest says" in results[0].message


async def test_storage_that_refuses_head_is_asked_by_get(registry: ScriptedRegistry) -> None:
    registry.on("HEAD", "/blobs/", faults.answer(405))
    assert outcomes(await run(registry)) == ["passed"]


async def test_layers_that_a_registry_need_not_hold_are_not_asked(registry: ScriptedRegistry) -> None:
    document = IMAGE.document
    document["layers"][0] = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": "sha256:" + "0" * 64,
        "size": 7,
    }
    body = json.dumps(document).encode()
    registry.add(REPOSITORY, "foreign", replace(IMAGE, manifest=body, digest=digest_of(body)))
    assert outcomes(await run(registry, "foreign", depth="Download")) == ["passed"]


async def test_indexes_that_name_indexes_are_followed_to_a_bound(registry: ScriptedRegistry) -> None:
    nested = TWO
    for depth in range(3):
        registry.add(REPOSITORY, f"nested{depth}", nested := index([replace(nested, platform="linux/amd64")]))
    results = await run(registry, "nested0", "nested1", "nested2", depth="Manifest")
    assert outcomes(results) == ["passed", "passed", "UpstreamProtocol"]


async def test_a_broken_manifest_is_told(registry: ScriptedRegistry) -> None:
    registry.on("GET", "/manifests/", faults.body(b"[]"), faults.no_digest())
    results = await run(registry)
    assert outcomes(results) == ["UpstreamProtocol"]
    assert "it sent a JSON list, not a manifest" in results[0].message


# --- platforms ---


async def test_a_platform_that_an_index_lacks_is_told_with_those_that_it_has(registry: ScriptedRegistry) -> None:
    (result,) = await run(registry, "two", platforms=("linux/amd64", "linux/s390x"))
    assert [(row.platform, row.passed) for row in result.platforms] == [("linux/amd64", True), ("linux/s390x", False)]
    assert result.reason == "ManifestUnknown"
    words = "my-org/api:two on quay.test is not for linux/s390x: it has linux/amd64, linux/arm64"
    assert (result.message, result.hint) == (words, "build and push it for linux/s390x, too")


async def test_a_platforms_manifest_that_is_gone_is_told_of_that_platform_alone(registry: ScriptedRegistry) -> None:
    registry.on(".*", TWO.children[1].digest, faults.refuse(404, "MANIFEST_UNKNOWN"))
    (result,) = await run(registry, "two")
    assert [(row.platform, row.reason) for row in result.platforms] == [
        ("linux/amd64", ""),
        ("linux/arm64", "ManifestUnknown"),
    ]
    (asked,) = await run(registry, "two", platforms=("linux/amd64",))
    assert asked.passed


async def test_attestations_in_an_index_are_no_platform(registry: ScriptedRegistry) -> None:
    document = TWO.document
    document["manifests"].append(
        {**IMAGE.descriptor, "platform": {"os": "unknown", "architecture": "unknown"}, "digest": "sha256:" + "0" * 64}
    )
    body = json.dumps(document).encode()
    registry.on("GET", "/manifests/two", faults.body(body), faults.no_digest())
    (result,) = await run(registry, "two")
    assert result.passed
    assert len(result.platforms) == 2


@pytest.mark.parametrize(
    ("wanted", "outcome"),
    [("linux/amd64", "passed"), ("linux/arm64", "ManifestUnknown")],
)
async def test_an_image_without_an_index_is_held_to_what_its_config_says(
    registry: ScriptedRegistry, wanted: str, outcome: str
) -> None:
    results = await run(registry, platforms=(wanted,), depth="Manifest")
    assert outcomes(results) == [outcome]


async def test_an_artifact_is_for_every_platform(registry: ScriptedRegistry) -> None:
    registry.add(REPOSITORY, "sbom", artifact(None))
    assert outcomes(await run(registry, "sbom", platforms=("linux/amd64", "linux/arm64"))) == ["passed"]


# --- what is asked, and how often ---


async def test_what_images_share_is_asked_once(registry: ScriptedRegistry) -> None:
    for number in range(20):
        manifest = IMAGE.document | {"annotations": {"n": str(number)}}
        body = json.dumps(manifest).encode()
        registry.add(REPOSITORY, f"n{number}", replace(IMAGE, manifest=body, digest=digest_of(body)))
    results = await run(registry, *(f"n{number}" for number in range(20)), "n0", depth="Download")
    assert {result.passed for result in results} == {True}
    assert len(registry.received("GET", "/manifests/")) == 20
    assert len(registry.received("GET", "/blobs/")) == 3


@pytest.mark.parametrize(
    "spoil",
    [
        faults.rate_limited("1"),
        faults.refuse(500, "UNKNOWN"),
        faults.refuse(503, "UNAVAILABLE"),
        faults.close(),
        faults.reset(),
        faults.close_after(10),
    ],
)
async def test_a_fault_that_may_pass_is_tried_again(registry: ScriptedRegistry, spoil: object) -> None:
    registry.on("GET", "/manifests/", spoil, times=1)  # type: ignore[arg-type]
    assert outcomes(await run(registry)) == ["passed"]
    assert len(registry.received("GET", "/manifests/")) == 2


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [(403, "DENIED", "UpstreamForbidden"), (404, "MANIFEST_UNKNOWN", "ManifestUnknown")],
)
async def test_a_fault_that_lasts_is_not_tried_again(
    registry: ScriptedRegistry, status: int, code: str, reason: str
) -> None:
    registry.on("GET", "/manifests/", faults.refuse(status, code))
    assert outcomes(await run(registry)) == [reason]
    assert len(registry.received("GET", "/manifests/")) == 1


async def test_no_more_tries_are_made_than_were_allowed(registry: ScriptedRegistry) -> None:
    registry.on("GET", "/manifests/", faults.refuse(503, "UNAVAILABLE"))
    assert outcomes(await run(registry, retries=1)) == ["UpstreamError"]
    assert len(registry.received("GET", "/manifests/")) == 2


async def test_a_rate_limit_that_outlasts_the_run_is_told_at_once(registry: ScriptedRegistry) -> None:
    registry.on("GET", "/manifests/", faults.rate_limited("3600"))
    results = await run(registry, timeout=60)
    assert outcomes(results) == ["UpstreamRateLimited"]
    assert len(registry.received()) == 1


async def test_what_is_not_finished_in_time_fails_and_the_rest_counts(registry: ScriptedRegistry) -> None:
    registry.on("GET", "/manifests/two", faults.hang())
    results = await run(registry, "two", "1.0", timeout=2)
    assert outcomes(results) == ["UpstreamTimeout", "passed"]
    assert results[0].message == "not finished: the time of the whole run, 2 s, was over"


async def test_a_host_that_never_answers_is_given_up_for_all_images() -> None:
    config = UpstreamConfig("my-app/quay", "quay.test", f"127.0.0.1:{free_port()}", plain_http=True, networks=LOOPBACK)
    targets = [target(config, f"n{number}") for number in range(300)]
    results = await probe_all(targets, ProbeOptions(per_host=1, timeout=20))
    assert set(outcomes(results)) == {"UpstreamUnreachable"}
    assert {result.message for result in results} == {"quay.test: connection refused"}


async def test_many_images_are_asked_at_once_but_never_more_than_the_bound() -> None:
    running, most = 0, 0

    async def answer(_: object) -> StageReply:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        return StageReply(200, IMAGE_BODY, {"Content-Type": IMAGE_TYPE})

    async with Stage(answer) as stage:
        targets = [target(stage.config(), f"n{number}") for number in range(200)]
        heard: list[ImageResult] = []
        results = await probe_all(targets, ProbeOptions("Manifest", per_host=8), on_result=heard.append)
    assert [result.image for result in results] == [target.image for target in targets]
    assert {result.passed for result in results} == {True}
    assert sorted(map(id, heard)) == sorted(map(id, results))
    assert most == 8


async def test_one_image_is_probed_with_a_client_of_the_callers(registry: ScriptedRegistry) -> None:
    async with Upstream(config_of(registry)) as client:
        result = await probe(target(client.config), ProbeOptions(), client)
        assert result.passed
        registry.on_connect(Ending.RESET)
        assert (await probe(target(client.config), ProbeOptions(), client)).passed


async def test_the_hint_is_the_callers(registry: ScriptedRegistry) -> None:
    asked = replace(target(config_of(registry), "none"), hint=lambda fault: f"mend {fault.reason}")
    (result,) = await probe_all([asked], ProbeOptions())
    assert result.hint == "mend ManifestUnknown"


# --- Registry.check.image ---


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("my-org/api:1.0", ""),
        ("quay.test/my-org/api:1.0", ""),
        ("my-org/api:2.0", "ManifestUnknown"),
        ("my org", "ReferenceInvalid"),
    ],
)
async def test_an_image_of_a_registry_is_checked_by_its_manifest(
    registry: ScriptedRegistry, written: str, reason: str
) -> None:
    fault = await check_image(config_of(registry), written)
    assert (fault.reason if fault else "") == reason
