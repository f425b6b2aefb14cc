"""The distribution-spec's pull, complete, through a real registry."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import aiohttp
import pytest

from tests.support.catalog import API, STABLE, WORKER, catalog, referrers
from tests.support.gate import APP, Gate, basic
from tests.support.upstreams import DockerRegistry

BASE = f"/v2/proxy/{APP}/upstream/{WORKER}"
TAGGED = f"/v2/proxy/{APP}/upstream/{API}"


async def manifest_of(gate: Gate, reference: str = "1.0.0") -> dict[str, object]:
    answer = await gate.get(f"{BASE}/manifests/{reference}", gate.key("acme"))
    assert answer.status == 200
    return dict(json.loads(answer.body))


async def test_without_credentials_the_ping_is_answered_with_one_bearer_challenge(gate: Gate) -> None:
    answer = await gate.get("/v2/")
    assert answer.status == 401
    assert answer.headers.getall("WWW-Authenticate") == [f'Bearer realm="{gate.url}/token",service="{gate.host}"']
    assert (await gate.get("/v2/", gate.key("acme"))).status == 200


async def test_a_manifest_is_the_upstreams_to_the_byte_by_tag_and_by_digest(gate: Gate) -> None:
    by_tag = await gate.get(f"{BASE}/manifests/1.0.0", gate.key("acme"))
    digest = by_tag.headers["Docker-Content-Digest"]
    assert digest == "sha256:" + hashlib.sha256(by_tag.body).hexdigest()
    by_digest = await gate.get(f"{BASE}/manifests/{digest}", gate.key("acme"))
    assert by_digest.body == by_tag.body
    assert by_digest.headers["Content-Type"] == by_tag.headers["Content-Type"]


async def test_a_head_of_a_manifest_tells_digest_length_and_type(gate: Gate) -> None:
    got = await gate.get(f"{BASE}/manifests/1.0.0", gate.key("acme"))
    head = await gate.ask("HEAD", f"{BASE}/manifests/1.0.0", gate.key("acme"))
    assert head.status == 200
    assert head.body == b""
    for name in ("Docker-Content-Digest", "Content-Length", "Content-Type"):
        assert head.headers[name] == got.headers[name]


async def test_a_blob_is_the_upstreams_to_the_byte(gate: Gate) -> None:
    manifest = await manifest_of(gate)
    for descriptor in [manifest["config"], *manifest["layers"]]:  # type: ignore[misc]
        answer = await gate.get(f"{BASE}/blobs/{descriptor['digest']}", gate.key("acme"))
        assert answer.status == 200
        assert "sha256:" + hashlib.sha256(answer.body).hexdigest() == descriptor["digest"]
        head = await gate.ask("HEAD", f"{BASE}/blobs/{descriptor['digest']}", gate.key("acme"))
        assert head.headers["Content-Length"] == str(len(answer.body))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("bytes=10-19", slice(10, 20)), ("bytes=10-", slice(10, None)), ("bytes=-5", slice(-5, None))],
)
async def test_a_part_of_a_blob_is_that_part(gate: Gate, wanted: str, expected: slice) -> None:
    layer = (await manifest_of(gate))["layers"][0]  # type: ignore[index]
    whole = (await gate.get(f"{BASE}/blobs/{layer['digest']}", gate.key("acme"))).body
    part = await gate.get(f"{BASE}/blobs/{layer['digest']}", gate.key("acme"), headers={"Range": wanted})
    assert part.status == 206
    assert part.body == whole[expected]
    start, stop, _ = expected.indices(len(whole))
    assert part.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(whole)}"


async def test_a_part_beyond_the_end_is_416(gate: Gate) -> None:
    layer = (await manifest_of(gate))["layers"][0]  # type: ignore[index]
    headers = {"Range": "bytes=99999999-"}
    assert (await gate.get(f"{BASE}/blobs/{layer['digest']}", gate.key("acme"), headers=headers)).status == 416


async def test_tags_are_paged_with_links_to_the_proxys_own_path(gate: Gate) -> None:
    found: list[str] = []
    path = f"{TAGGED}/tags/list?n=2"
    while path:
        answer = await gate.get(path, gate.key("acme"))
        page = json.loads(answer.body)
        assert page["name"] == TAGGED.removeprefix("/v2/")
        assert len(page["tags"]) <= 2
        found += page["tags"]
        link = answer.headers.get("Link", "")
        assert not link or link.startswith(f"<{TAGGED}/tags/list?")
        path = link.partition(">")[0].removeprefix("<")
    assert {"1.0.0", "1.4.0", "1.4.2", "2.0.0", "stable"} <= set(found)


async def test_referrers_come_by_the_tag_schema_where_the_upstream_has_no_api(gate: Gate) -> None:
    subject, expected = catalog()[API, STABLE].digest, referrers()
    listed = await gate.get(f"{TAGGED}/referrers/{subject}", gate.key("acme"))
    assert {d["digest"] for d in json.loads(listed.body)["manifests"]} == {image.digest for image in expected}
    wanted = expected[0].document["artifactType"]
    filtered = await gate.get(f"{TAGGED}/referrers/{subject}?artifactType={wanted}", gate.key("acme"))
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert [d["digest"] for d in json.loads(filtered.body)["manifests"]] == [expected[0].digest]
    none = await gate.get(f"{TAGGED}/referrers/sha256:{'0' * 64}", gate.key("acme"))
    assert json.loads(none.body)["manifests"] == []


async def test_every_form_of_a_path_leads_to_the_same_image(gate: Gate, docker_registry_basic: DockerRegistry) -> None:
    key = gate.key("acme")
    expected = (await gate.get(f"{BASE}/manifests/1.0.0", key)).body
    domain = {"Host": "images.myapp.test"}
    host, _, port = docker_registry_basic.host.partition(":")
    by_domain = await gate.get(f"/v2/{WORKER}/manifests/1.0.0", key, headers=domain)
    by_name_on_domain = await gate.get(f"{BASE}/manifests/1.0.0", key, headers=domain)
    as_mirror = await gate.get(f"/v2/{WORKER}/manifests/1.0.0?ns={host}:{port}", key)
    for answer in (by_domain, by_name_on_domain, as_mirror):
        assert (answer.status, answer.body) == (200, expected)


async def test_nothing_is_written_and_there_is_no_catalog(gate: Gate) -> None:
    key = gate.key("acme")
    for method, path in (
        ("PUT", f"{BASE}/manifests/1.0.0"),
        ("DELETE", f"{BASE}/manifests/1.0.0"),
        ("POST", f"{BASE}/blobs/uploads/"),
        ("PATCH", f"{BASE}/blobs/uploads/1"),
    ):
        answer = await gate.ask(method, path, key)
        assert (answer.status, answer.code, answer.fault) == (405, "UNSUPPORTED", "ReadOnly")
    assert (await gate.get("/v2/_catalog", key)).status == 404


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("scopes", [[], ["a/b:pull"], ["a/b:pull,push", "c:5000/d:pull"]])
async def test_a_token_is_issued_by_get_and_post_and_pulls(gate: Gate, method: str, scopes: list[str]) -> None:
    key, named = gate.key("acme"), [f"repository:{scope}" for scope in scopes]
    target = f"{gate.url}/token"
    options: dict[str, Any]
    if method == "GET":
        query = [("service", gate.host), ("account", "acme"), ("offline_token", "true")]
        query += [("scope", scope) for scope in named]
        options = {"params": query, "headers": {"Authorization": basic("acme", key)}}
    else:
        form = {"grant_type": "password", "username": "acme", "password": key, "client_id": "x"}
        form["scope"] = " ".join(named)
        options = {"data": form}
    async with gate.session.request(method, target, **options) as response:
        assert response.status == 200
        token = await response.json()
    assert token["token"] == token["access_token"]
    assert token["expires_in"] == 300
    assert not {"refresh_token", "issued_at"} & set(token)
    assert "push" not in token.get("scope", "")
    headers = {"Authorization": f"Bearer {token['token']}"}
    assert (await gate.get(f"{BASE}/manifests/1.0.0", headers=headers)).status == 200


async def test_a_token_that_is_none_is_refused_as_invalid_so_that_clients_fetch_a_new_one(gate: Gate) -> None:
    answer = await gate.get(f"{BASE}/manifests/1.0.0", headers={"Authorization": "Bearer x.y.z"})
    assert answer.status == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert f'scope="repository:{BASE.removeprefix("/v2/")}:pull"' in answer.headers["WWW-Authenticate"]


async def test_each_request_leaves_one_line_with_who_what_and_how_it_ended(gate: Gate) -> None:
    await gate.get(f"{BASE}/manifests/1.0.0", gate.key("acme"))
    await gate.get(f"/v2/proxy/{APP}/nowhere/x/manifests/1", gate.key("acme"))
    first, second = gate.records()[-2:]
    assert (first["license"], first["registry"], first["reference"], first["status"]) == (
        "acme",
        "upstream",
        "1.0.0",
        200,
    )
    assert first["bytes"] > 0
    assert (second["reason"], second["status"]) == ("NotEntitled", 403)
    assert second["requestId"]


async def test_metrics_and_readiness_are_on_their_own_port(gate: Gate) -> None:
    await gate.get(f"{BASE}/manifests/1.0.0", gate.key("acme"))
    admin = f"http://127.0.0.1:{gate.proxy.admin_port}"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{admin}/readyz") as ready:
            assert (ready.status, (await ready.json(content_type=None))["ready"]) == (200, True)
        async with session.get(f"{admin}/healthz") as healthy:
            assert healthy.status == 200
        async with session.get(f"{admin}/metrics") as metrics:
            text = await metrics.text()
    assert 'pullgate_requests_total{kind="manifests",reason="Ok",status="200"} 1.0' in text
    assert (await gate.get("/metrics", gate.key("acme"))).status == 404
