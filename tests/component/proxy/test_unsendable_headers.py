"""A header of an upstream that cannot be sent on is the upstream's fault, by name: no 500, no cut body."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.catalog import WORKER, catalog, seed
from tests.support.gate import APP, Gate, license_, registry, running
from tests.support.upstreams import ScriptedRegistry, faults

IMAGE = catalog()[WORKER, "1.0.0"]
BASE = f"/v2/proxy/{APP}/up/{WORKER}"
BLOB = next(iter(IMAGE.blobs))
ENDS = {
    "tag": "manifests/1.0.0",
    "digest": f"manifests/{IMAGE.digest}",
    "blob": f"blobs/{BLOB}",
    "tags": "tags/list",
    "referrers": f"referrers/{IMAGE.digest}",
}
VALUES = {"control": "a\x01b", "escape": "a\x1b[2Jb", "delete": "a\x7fb", "bytes": "a\udcffb", "bidi": "a\u202eb"}


@pytest.fixture(params=["kept", "passed through"])
async def gate(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Gate, ScriptedRegistry]]:
    kept = {"manifest_cache": 2**20} if request.param == "kept" else {}
    async with ScriptedRegistry() as upstream:
        await seed(upstream)
        async with running(tmp_path / "folder", registry("up", upstream.host), license_("acme"), **kept) as made:
            yield made, upstream


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("end", ENDS)
async def test_a_content_type_that_cannot_be_sent_on_is_named(
    gate: tuple[Gate, ScriptedRegistry], end: str, value: str
) -> None:
    made, upstream = gate
    upstream.on("GET|HEAD", "/v2/.+/", faults.header("Content-Type", VALUES[value]))
    for method in ("GET", "HEAD"):
        answer = await made.ask(method, f"{BASE}/{ENDS[end]}", made.key("acme"))
        assert (answer.status, answer.fault) == (502, "UpstreamProtocol"), method


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    "name", ["Docker-Content-Digest", "ETag", "Link", "Last-Modified", "Accept-Ranges", "Content-Range"]
)
async def test_so_is_every_header_that_is_read_or_sent_on(
    gate: tuple[Gate, ScriptedRegistry], end: str, name: str
) -> None:
    made, upstream = gate
    upstream.on("GET|HEAD", "/v2/.+/", faults.header(name, "a\x1bb"))
    for method in ("GET", "HEAD"):
        assert (await made.ask(method, f"{BASE}/{ENDS[end]}", made.key("acme"))).fault == "UpstreamProtocol"


async def test_so_are_a_redirect_and_a_challenge(gate: tuple[Gate, ScriptedRegistry]) -> None:
    made, upstream = gate
    for fault in (faults.redirect("http://a\x1bb.example/c"), faults.challenge('Bearer realm="a\x1bb"')):
        upstream.heal()
        upstream.on("GET|HEAD", "/v2/.+/", fault)
        for end in ENDS.values():
            assert (await made.get(f"{BASE}/{end}", made.key("acme"))).fault == "UpstreamProtocol"


@pytest.mark.parametrize("given", [None, "application/json"])
async def test_so_is_the_type_that_a_manifest_gives_itself(
    gate: tuple[Gate, ScriptedRegistry], given: str | None
) -> None:
    made, upstream = gate
    body = json.dumps({**IMAGE.document, "mediaType": "a\x01b/c"}).encode()
    spoil = (faults.header("Content-Type", given), faults.no_digest(), faults.body(body))
    upstream.on("GET|HEAD", "/manifests/1.0.0", *spoil)
    for method in ("GET", "HEAD"):
        answer = await made.ask(method, f"{BASE}/manifests/1.0.0", made.key("acme"))
        assert (answer.status, answer.fault) == (502, "UpstreamProtocol"), method


async def test_a_header_that_nobody_reads_may_hold_what_it_likes(gate: tuple[Gate, ScriptedRegistry]) -> None:
    made, upstream = gate
    upstream.on("GET|HEAD", "/v2/.+/", faults.header("X-Served-By", "a\x1bb"))
    for end in ENDS.values():
        assert (await made.get(f"{BASE}/{end}", made.key("acme"))).status == 200
