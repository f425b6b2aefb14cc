"""Default deny: a tag rule covers its tags, the digests that they lead to, and nothing else, also after a restart."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pullgate.oci.digest import digest_of
from tests.support.gate import APP, Answer, Gate, license_, registry, running, secret
from tests.support.images import Image, artifact, image, index
from tests.support.upstreams import DockerRegistry, ScriptedRegistry, faults

BASE = f"/v2/proxy/{APP}/upstream"
REPOSITORY = "rules/api"


@dataclass(frozen=True, slots=True)
class World:
    """A Pullgate, and what lies in rules/api: tags 1.0.0, 1.1.0 (an index) and 2.0.0, each with layers of its own."""

    gate: Gate
    upstream: DockerRegistry
    one: Image
    both: Image
    two: Image

    async def get(self, end: str, license_name: str = "narrow", repository: str = REPOSITORY) -> Answer:
        return await self.gate.get(f"{BASE}/{repository}/{end}", self.gate.key(license_name))


NARROW = license_("narrow", {"registry": "upstream", "repositories": ["rules/*"], "tags": {"match": ["1.*"]}})


@pytest.fixture
async def world(tmp_path: Path, docker_registry_basic: DockerRegistry) -> AsyncIterator[World]:
    upstream = docker_registry_basic
    one, two = image("rules-one"), image("rules-two")
    both = index([image("rules-amd"), image("rules-arm", architecture="arm64")])
    for tag, pushed in (("1.0.0", one), ("1.1.0", both), ("2.0.0", two)):
        await upstream.push(REPOSITORY, tag, pushed)
    await upstream.push("other/api", "1.0.0", two)
    documents = [
        secret("vendor", upstream.username, upstream.password),
        registry("upstream", upstream.host, secret="vendor", repositories=["rules/**", "my-org/**", "other/**"]),
        NARROW,
    ]
    async with running(tmp_path / "resources", *documents) as gate:
        yield World(gate, upstream, one, both, two)


async def test_a_tag_outside_the_rule_is_refused_by_name(world: World) -> None:
    assert (await world.get("manifests/1.0.0")).status == 200
    refused = await world.get("manifests/2.0.0")
    assert (refused.status, refused.fault) == (403, "NotEntitled")
    assert refused.message.startswith(f"license narrow does not cover proxy/{APP}/upstream/{REPOSITORY}:2.0.0")


async def test_a_repository_that_no_entitlement_names_is_refused(world: World) -> None:
    assert (await world.get("manifests/1.0.0", repository="other/api")).fault == "NotEntitled"


async def test_a_license_without_entitlements_may_pull_nothing(world: World) -> None:
    empty = license_("empty")
    empty["spec"]["entitlements"] = []
    await world.gate.apply(empty)
    assert (await world.get("manifests/1.0.0", "empty")).fault == "NotEntitled"


async def test_a_digest_is_allowed_if_an_allowed_tag_leads_to_it_and_refused_if_not(world: World) -> None:
    assert (await world.get(f"manifests/{world.one.digest}")).status == 200
    assert (await world.get(f"manifests/{world.both.digest}")).status == 200
    for child in world.both.walk():
        assert (await world.get(f"manifests/{child.digest}")).status == 200
    assert (await world.get(f"manifests/{world.two.digest}")).fault == "NotEntitled"


async def test_a_blob_is_allowed_only_if_a_manifest_that_may_be_pulled_names_it(world: World) -> None:
    for blob in world.one.blobs:
        assert (await world.get(f"blobs/{blob}")).status == 200
    for child in world.both.walk():
        for blob in child.blobs:
            assert (await world.get(f"blobs/{blob}")).status == 200
    for blob in set(world.two.blobs) - set(world.one.blobs):
        assert (await world.get(f"blobs/{blob}")).fault == "NotEntitled"


async def test_another_replica_and_a_restart_decide_the_same_without_having_seen_the_tag(world: World) -> None:
    replica = await world.gate.start_proxy()
    await world.gate.until(lambda: replica.snapshot.synced and bool(replica.snapshot.signing_keys.keys))
    key = world.gate.key("narrow")
    for blob in world.one.blobs:
        path = f"{BASE}/{REPOSITORY}/blobs/{blob}"
        assert (await world.gate.get(path, key, proxy=replica)).status == 200
    for blob in set(world.two.blobs) - set(world.one.blobs):
        path = f"{BASE}/{REPOSITORY}/blobs/{blob}"
        assert (await world.gate.get(path, key, proxy=replica)).status == 403


async def test_a_rule_of_exact_tags_and_a_semver_range_decide_alike(world: World) -> None:
    exact = {"repositories": ["rules/api"], "tags": {"match": ["1.0.0"]}}
    ranged = {"repositories": ["rules/api"], "tags": {"semver": ">=1.0 <1.1"}}
    await world.gate.apply(license_("exact", exact), license_("ranged", ranged))
    for name in ("exact", "ranged"):
        assert (await world.get(f"blobs/{world.one.config}", name)).status == 200
        assert (await world.get("manifests/1.0.0", name)).status == 200
        assert (await world.get("manifests/1.1.0", name)).status == 403
        assert (await world.get(f"manifests/{world.both.digest}", name)).status == 403


async def test_narrowing_a_license_takes_effect_at_the_next_request_also_for_digests_seen_before(world: World) -> None:
    assert (await world.get("manifests/1.0.0")).status == 200
    assert (await world.get(f"blobs/{world.one.config}")).status == 200
    await world.gate.apply(
        license_("narrow", {"registry": "upstream", "repositories": ["rules/*"], "tags": {"match": ["1.1.*"]}})
    )
    key = world.gate.key("narrow")
    await world.gate.until_status(f"{BASE}/{REPOSITORY}/manifests/1.0.0", key, 403)
    assert (await world.get(f"manifests/{world.one.digest}")).status == 403
    only_one = set(world.one.blobs) - {b for child in world.both.walk() for b in child.blobs}
    for blob in only_one:
        assert (await world.get(f"blobs/{blob}")).status == 403


async def test_tags_outside_the_rule_are_not_listed(world: World) -> None:
    listed = json.loads((await world.get("tags/list")).body)["tags"]
    assert set(listed) == {"1.0.0", "1.1.0"}


async def test_a_signature_may_be_pulled_if_what_it_is_about_may(world: World) -> None:
    good, bad = artifact(world.one), artifact(world.two)
    await world.upstream.push_referrers(REPOSITORY, world.one, [good])
    await world.upstream.push_referrers(REPOSITORY, world.two, [bad])
    assert (await world.get(f"referrers/{world.one.digest}")).status == 200
    assert (await world.get(f"referrers/{world.two.digest}")).status == 403
    schema = world.one.digest.replace(":", "-")
    assert (await world.get(f"manifests/{schema}")).status == 200
    assert (await world.get(f"manifests/{world.two.digest.replace(':', '-')}")).status == 403
    assert (await world.get(f"manifests/{good.digest}")).status == 200
    assert (await world.get(f"manifests/{bad.digest}")).status == 403


async def test_invented_digests_cost_the_upstream_one_search(tmp_path: Path) -> None:
    async with ScriptedRegistry() as upstream:
        await upstream.push(REPOSITORY, "1.0.0", image("rules-one"))
        async with running(tmp_path / "resources", registry("upstream", upstream.host), NARROW) as gate:
            key, counts = gate.key("narrow"), []
            for number in range(5):
                path = f"{BASE}/{REPOSITORY}/blobs/sha256:{number:064x}"
                assert (await gate.get(path, key)).fault == "NotEntitled"
                counts.append(len(upstream.received(target=REPOSITORY)))
    assert counts[0] > 0
    assert counts == counts[:1] * 5


async def test_the_registrys_own_bound_stands_above_every_license(world: World) -> None:
    await world.gate.apply(license_("wide"))
    assert (await world.get("manifests/1.0.0", "wide", repository="charts/demo")).fault == "NotEntitled"
    assert (await world.get("manifests/1.0.0", "wide")).status == 200


LAYER = b"layer" * 1000
STUMBLES = {
    "a body beyond the bound": faults.body(b"x" * (4 * 1024 * 1024 + 1)),
    "the layer itself": faults.body(LAYER),
    "another body": faults.body(b"{}"),
    "a web page": faults.answer(200, b"<html></html>", {"Content-Type": "text/html"}),
    "a header that cannot be sent on": faults.header("Content-Type", "a\x01b"),
    "refused": faults.refuse(403, "DENIED"),
    "not allowed": faults.answer(405),
    "an error": faults.answer(500),
    "a redirect to nowhere": faults.redirect("ftp://a.example/"),
}


@pytest.mark.parametrize("stumble", STUMBLES)
async def test_the_digest_of_a_hidden_layer_is_answered_as_an_invented_one(tmp_path: Path, stumble: str) -> None:
    hidden, invented = digest_of(LAYER), f"sha256:{'0' * 64}"
    async with ScriptedRegistry() as upstream:
        await upstream.push(REPOSITORY, "1.0.0", image("rules-one"))
        upstream.on("GET|HEAD", f"/manifests/{hidden}", faults.answer(200), STUMBLES[stumble])
        async with running(tmp_path / "resources", registry("upstream", upstream.host), NARROW) as gate:
            told = set()
            for method in ("GET", "HEAD"):
                for digest in (hidden, invented):
                    answer = await gate.ask(method, f"{BASE}/{REPOSITORY}/manifests/{digest}", gate.key("narrow"))
                    told.add((answer.status, answer.fault, answer.reason.replace(digest, "")))
    assert len(told) == 1
    assert {each[:2] for each in told} == {(403, "NotEntitled")}


async def test_an_upstream_that_repeats_the_digest_of_anothers_index_learns_nothing_of_what_is_in_it(
    tmp_path: Path,
) -> None:
    both = index([image("secret-amd"), image("secret-arm", architecture="arm64")])
    async with ScriptedRegistry() as ours, ScriptedRegistry() as theirs:
        for upstream in (ours, theirs):
            await upstream.push(REPOSITORY, "1.0.0", both)
        theirs.on("GET", "/manifests/", faults.refuse(404, "MANIFEST_UNKNOWN"))
        documents = [
            registry("upstream", ours.host),
            NARROW,
            registry("theirs", theirs.host, namespace="rival"),
            license_("eve", {"repositories": ["rules/*"], "tags": {"match": ["1.*"]}}, namespace="rival"),
        ]
        async with running(tmp_path, *documents) as gate:
            assert (await gate.get(f"{BASE}/{REPOSITORY}/manifests/1.0.0", gate.key("narrow"))).status == 200
            invented = digest_of(b"invented")
            path = f"/v2/proxy/rival/theirs/{REPOSITORY}/manifests/{invented}"
            assert (await gate.get(path, gate.key("eve", "rival"))).status in {403, 404, 503}
            asked = " ".join(request.target for request in theirs.received("GET|HEAD", "/"))
    assert both.digest in asked
    assert not [child.digest for child in both.children if child.digest in asked]
