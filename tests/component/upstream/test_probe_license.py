"""Is it pullable, as a customer? Through a whole proxy: what it refuses comes back as the same reason and words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pullgate.oci.reference import parse_reference
from pullgate.upstream.compile import proxy_config
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.probe import Depth, ImageResult, ProbeOptions, license_target, probe_all, vendor_target
from tests.component.upstream.stage import Reply, Stage
from tests.support.gate import APP, Gate, license_, registry, running
from tests.support.images import image, index
from tests.support.upstreams import S3Like, ScriptedRegistry, faults

REPOSITORY = "my-org/api"
TWO = index([image("as license"), image("as license arm64", architecture="arm64")])


@dataclass(frozen=True)
class World:
    """A proxy in front of a scripted upstream."""

    gate: Gate
    upstream: ScriptedRegistry

    async def run(
        self, name: str = "acme", *, key: str | None = None, depth: Depth = "Blobs", retries: int = 0
    ) -> ImageResult:
        """How my-org/api:1.0 fares for a License."""
        proxy = proxy_config(self.gate.host, key or self.gate.key(name), plain_http=True)
        text = f"{self.upstream.host}/{REPOSITORY}:1.0"
        target = license_target(text, parse_reference(text), proxy, APP, registry="quay")
        return (await probe_all([target], ProbeOptions(depth=depth, retries=retries)))[0]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Licenses of all sorts."""
    async with ScriptedRegistry() as upstream:
        upstream.add(REPOSITORY, "1.0", TWO)
        documents = (
            registry("quay", upstream.host),
            license_("acme"),
            license_("old", expiresAt="2026-01-01T00:00:00Z"),
            license_("bad", suspended={"reason": "invoice 77 unpaid"}),
            license_("other", {"repositories": ["my-org/else"]}),
        )
        async with running(tmp_path, *documents) as gate:
            yield World(gate, upstream)


@pytest.mark.parametrize("depth", ["Manifest", "Blobs", "Download"])
async def test_what_a_customer_may_pull_passes_at_each_depth(world: World, depth: Depth) -> None:
    result = await world.run(depth=depth)
    assert (result.passed, result.digest) == (True, TWO.digest)
    assert [row.platform for row in result.platforms] == ["linux/amd64", "linux/arm64"]
    asked = {record["license"] for record in world.gate.records() if record.get("status") == 200}
    assert "acme" in asked


@pytest.mark.parametrize(
    ("name", "reason", "message", "hint"),
    [
        ("old", "LicenseExpired", "license old expired on 2026-01-01", "renew it with the vendor"),
        ("bad", "LicenseSuspended", "license bad is suspended: invoice 77 unpaid", "settle it with the vendor"),
        (
            "other",
            "NotEntitled",
            "license other does not cover proxy/my-app/quay/my-org/api",
            "check the image name or ask the vendor to add it",
        ),
    ],
)
async def test_a_licenses_refusal_comes_back_in_the_proxys_words(
    world: World, name: str, reason: str, message: str, hint: str
) -> None:
    result = await world.run(name)
    assert (result.passed, result.reason, result.message, result.hint) == (False, reason, message, hint)


@pytest.mark.parametrize(("key", "reason"), [("pgk_wrong", "KeyMalformed"), ("hunter2", "KeyMalformed")])
async def test_a_key_that_the_token_server_refuses_is_told_by_its_fault(world: World, key: str, reason: str) -> None:
    result = await world.run(key=key)
    assert result.reason == reason
    assert key not in repr(result)


@pytest.mark.parametrize(
    ("method", "path", "spoil", "reason", "message"),
    [
        (
            "GET",
            "/manifests/1.0",
            faults.refuse(404, "MANIFEST_UNKNOWN"),
            "ManifestUnknown",
            "my-org/api:1.0 is not on",
        ),
        ("GET", "/manifests/1.0", faults.refuse(403, "DENIED"), "UpstreamForbidden", "may not read my-org/api on"),
        ("GET", "/manifests/1.0", faults.rate_limited("3600"), "UpstreamRateLimited", "limits the vendors account"),
        ("GET|HEAD", "/manifests/1.0", faults.refuse(503, "X"), "UpstreamError", "answered 503"),
        ("GET|HEAD", "/blobs/", faults.refuse(404, "BLOB_UNKNOWN"), "BlobUnknown", "my-org/api@sha256:"),
        ("GET|HEAD", "/blobs/", faults.refuse(403, "DENIED"), "UpstreamForbidden", "may not read my-org/api on"),
    ],
)
async def test_an_upstreams_fault_comes_back_through_the_proxy(
    world: World, method: str, path: str, spoil: object, reason: str, message: str
) -> None:
    world.upstream.on(method, path, spoil)  # type: ignore[arg-type]
    result = await world.run()
    assert (result.passed, result.reason) == (False, reason)
    assert message in result.message


async def test_a_rejected_credential_of_the_vendor_is_not_taken_for_the_customers(tmp_path: Path) -> None:
    async with ScriptedRegistry("basic") as upstream:
        upstream.add(REPOSITORY, "1.0", TWO)
        async with running(tmp_path, registry("quay", upstream.host), license_("acme")) as gate:
            world = World(gate, upstream)
            upstream.on("GET", "/manifests/", faults.refuse(400, "DENIED", "Your authorization token has expired"))
            result = await world.run()
    assert result.reason == "UpstreamUnauthorized"
    assert result.message.endswith("rejected the vendors credentials")


async def test_layers_that_are_delivered_from_elsewhere_are_followed(tmp_path: Path) -> None:
    async with S3Like() as storage, ScriptedRegistry() as upstream:
        upstream.blob_store = storage
        upstream.add(REPOSITORY, "1.0", TWO)
        document = registry("quay", upstream.host, delivery="Redirect", network={"allowPrivate": True})
        async with running(tmp_path, document, license_("acme")) as gate:
            world = World(gate, upstream)
            assert (await world.run(depth="Download")).passed
            storage.on("GET", ".*", faults.corrupt(3))
            assert (await world.run(depth="Download")).reason == "DigestMismatch"


async def test_a_proxy_that_is_away_is_told_by_its_own_name(world: World) -> None:
    await world.gate.proxy.stop()
    result = await world.run()
    assert result.reason == "UpstreamUnreachable"
    assert result.message == f"{world.gate.host}: connection refused"


async def probe_stage(stage: Stage, config: UpstreamConfig) -> ImageResult:
    text = f"{stage.host}/a/b:1"
    return (await probe_all([vendor_target(text, parse_reference(text), config)], ProbeOptions(retries=0)))[0]


async def test_a_proxy_is_asked_past_its_cache_and_an_upstream_as_usual() -> None:
    async with Stage(lambda _: Reply(404)) as stage:
        await probe_stage(stage, proxy_config(stage.host, "pgk_x", plain_http=True))
        await probe_stage(stage, stage.config())
        assert [asked.headers.get("Cache-Control") for asked in stage.asked] == ["no-cache", None]


async def test_only_a_proxy_is_taken_at_its_word() -> None:
    said = Reply(403, b"", {"X-Pullgate-Reason": "LicenseExpired"})
    async with Stage(lambda _: said) as stage:
        proxy = await probe_stage(stage, proxy_config(stage.host, "pgk_x", plain_http=True))
        assert (proxy.reason, proxy.message) == ("LicenseExpired", f"{stage.host} refused it: LicenseExpired")
        assert (await probe_stage(stage, stage.config())).reason == "UpstreamForbidden"


@pytest.mark.parametrize(
    "said", [Reply(403, b"", {"X-Pullgate-Reason": "Nonsense"}), Reply(403, b"[]"), Reply(403, b'{"errors": [7]}')]
)
async def test_what_a_proxy_does_not_name_is_judged_by_its_status(said: Reply) -> None:
    async with Stage(lambda _: said) as stage:
        result = await probe_stage(stage, proxy_config(stage.host, "pgk_x", plain_http=True))
        assert result.reason == "UpstreamForbidden"
