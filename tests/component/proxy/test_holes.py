"""The known holes of registry proxies (docs/security.md), as far as the proxy itself guards them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.catalog import WORKER, catalog, seed
from tests.support.gate import APP, Gate, license_, registry, running, secret
from tests.support.upstreams import S3Like, ScriptedRegistry, faults

BASE = f"/v2/proxy/{APP}/upstream/{WORKER}"
IMAGE = catalog()[WORKER, "1.0.0"]


@dataclass(frozen=True, slots=True)
class World:
    gate: Gate
    upstream: ScriptedRegistry
    store: S3Like


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with ScriptedRegistry("basic") as upstream, S3Like() as store:
        await seed(upstream)
        documents = [
            secret("vendor", upstream.username, upstream.password),
            registry("upstream", upstream.host, secret="vendor", network={"allowPrivate": True}),
            license_("acme"),
            license_("narrow", {"registry": "upstream", "repositories": [WORKER]}),
        ]
        async with running(tmp_path / "resources", *documents) as gate:
            yield World(gate, upstream, store)


async def test_the_clients_headers_do_not_reach_the_upstream(world: World) -> None:
    key = world.gate.key("acme")
    sent = {"Cookie": "a=b", "X-Forwarded-For": "1.2.3.4", "Proxy-Authorization": "Basic eA==", "X-Secret": "canary-1"}
    assert (await world.gate.get(f"{BASE}/manifests/1.0.0", key, headers=sent)).status == 200
    for request in world.upstream.received(target=WORKER):
        assert not {"Cookie", "X-Forwarded-For", "Proxy-Authorization", "X-Secret"} & set(request.headers)
        assert key not in str(request.headers)


async def test_the_upstreams_own_headers_do_not_reach_the_client(world: World) -> None:
    evil = {"Set-Cookie": "a=b", "X-Internal": "canary-2", "Link": '<https://evil.example/>; rel="next"', "Via": "x"}
    spoilt = [faults.header(name, value) for name, value in evil.items()]
    world.upstream.on("GET", "/manifests/|/blobs/|/tags/", *spoilt, after_login=True)
    key = world.gate.key("acme")
    for end in ("manifests/1.0.0", f"blobs/{IMAGE.config}", "tags/list"):
        answer = await world.gate.get(f"{BASE}/{end}", key)
        assert answer.status == 200
        assert not set(evil) & set(answer.headers), end


async def test_an_upstreams_challenge_never_reaches_the_client(world: World) -> None:
    world.upstream.on("GET", "/manifests/", faults.challenge('Basic realm="canary-3"'))
    answer = await world.gate.get(f"{BASE}/manifests/1.0.0", world.gate.key("acme"))
    assert answer.status == 403
    assert "WWW-Authenticate" not in answer.headers


async def test_one_text_for_all_that_is_not_covered(world: World) -> None:
    key = world.gate.key("narrow")
    paths = [
        f"proxy/{APP}/upstream/my-org/secret",
        f"proxy/{APP}/upstream/my-org/not-there",
        f"proxy/{APP}/nowhere/my-org/secret",
        "proxy/no-such-app/upstream/my-org/secret",
        "no-such-domain/my-org/secret",
    ]
    for path in paths:
        answer = await world.gate.get(f"/v2/{path}/manifests/1.0.0", key)
        assert (answer.status, answer.code) == (403, "DENIED")
        assert answer.message.partition(";")[0] == f"license narrow does not cover {path}"


async def test_a_license_pulls_nothing_from_another_app(world: World) -> None:
    await world.gate.apply(license_("stranger", namespace="other-app"))
    key = world.gate.key("stranger", "other-app")
    assert (await world.gate.get(f"{BASE}/manifests/1.0.0", key)).fault == "NotEntitled"


async def test_a_redirected_blob_is_streamed_and_the_credentials_stay_with_the_upstream(world: World) -> None:
    world.upstream.blob_store = world.store
    answer = await world.gate.get(f"{BASE}/blobs/{IMAGE.config}", world.gate.key("acme"))
    assert answer.body == IMAGE.blobs[IMAGE.config]
    assert world.store.requests
    assert all("Authorization" not in request.headers for request in world.store.requests)


async def test_delivery_redirect_hands_out_the_signed_url_unaltered(world: World) -> None:
    world.upstream.blob_store = world.store
    direct = registry(
        "upstream", world.upstream.host, secret="vendor", network={"allowPrivate": True}, delivery="Redirect"
    )
    await world.gate.apply(direct)
    key = world.gate.key("acme")
    answer = await world.gate.until_status(f"{BASE}/blobs/{IMAGE.config}", key, 307)
    async with world.gate.session.get(answer.headers["Location"]) as stored:
        assert stored.status == 403 or await stored.read() == IMAGE.blobs[IMAGE.config]
    assert answer.headers["Location"] == world.store.put(IMAGE.config, IMAGE.blobs[IMAGE.config])


async def test_no_credential_and_no_key_stands_in_a_log_line_an_error_or_a_metric(world: World) -> None:
    gate, key = world.gate, world.gate.key("acme")
    await gate.get(f"{BASE}/manifests/1.0.0", key)
    await gate.get(f"/token?service=x&scope=repository:a:pull&account={key}", key)
    world.upstream.login.password = "CANARY-changed"
    refused = await gate.get(f"{BASE}/manifests/1.4.0", key)
    assert refused.fault == "UpstreamUnauthorized"
    admin = f"http://127.0.0.1:{gate.proxy.admin_port}/metrics"
    async with gate.session.get(admin) as metrics:
        seen = [gate.log.getvalue(), refused.body.decode(), str(refused.headers), await metrics.text()]
    for text in seen:
        for canary in (key, "CANARY", "Basic ", "Bearer ey"):
            assert canary not in text


@pytest.mark.logs_traceback("'NoneType' object has no attribute 'forward'")
async def test_an_internal_defect_shows_a_reference_and_no_detail(world: World) -> None:
    proxy = world.gate.proxy
    forwarder, proxy._forwarder = proxy._forwarder, None  # type: ignore[assignment]  # a defect, as none is known
    answer = await world.gate.get(f"{BASE}/manifests/1.0.0", world.gate.key("acme"))
    proxy._forwarder = forwarder
    assert (answer.status, answer.fault, answer.code) == (500, "Internal", "UNKNOWN")
    assert answer.message == f"internal error, ref {answer.headers['X-Request-Id']}"
    assert json.loads(answer.body)["errors"][0]["detail"]["hint"] == ""


async def test_a_token_that_is_nested_without_end_is_an_invalid_one(world: World) -> None:
    """The library reads its header before the signature, with a parser that goes as deep as the stack."""
    nested = base64.urlsafe_b64encode(b"[" * 5000).rstrip(b"=").decode()
    answer = await world.gate.get(f"{BASE}/manifests/1.0.0", headers={"Authorization": f"Bearer {nested}.e30.x"})
    assert (answer.status, answer.fault) == (401, "TokenExpired")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Location", "//[::1]@/"),
        ("Location", "https://xn--a.example/"),
        ("WWW-Authenticate", 'Bearer realm="https://xn--a.example/token"'),
        ("WWW-Authenticate", 'Bearer realm="//x[::1]y@z"'),
    ],
)
async def test_an_address_that_no_library_reads_is_refused_in_words(world: World, header: str, value: str) -> None:
    fault = faults.challenge(value) if header == "WWW-Authenticate" else faults.redirect(value)
    world.upstream.on("GET", "/blobs/", fault, after_login=header == "Location")
    answer = await world.gate.get(f"{BASE}/blobs/{IMAGE.config}", world.gate.key("acme"))
    assert answer.fault in {"RedirectRefused", "RealmRefused", "UpstreamForbidden"}


@pytest.mark.parametrize("link", ['<https://[/?a=b>; rel="next"', "<", '<//[::1]@/?a=b>; rel="next"'])
async def test_a_link_that_is_no_address_ends_the_list(world: World, link: str) -> None:
    world.upstream.on("GET", "/tags/", faults.header("Link", link), after_login=True)
    answer = await world.gate.get(f"{BASE}/tags/list", world.gate.key("acme"))
    assert answer.status == 200
    assert "https" not in answer.headers.get("Link", "")


@pytest.mark.parametrize(
    "spoilt",
    [
        "GET /v2/ HTTP/1.1\nHost: a\nAuthorization: Basic {login}\n\n",
        "GET /v2/ HTTP/1.1\r\nHost: a\r\nAuthor\0ization: Basic {login}\r\n\r\n",
        "GET /v2/ HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {login}{long}\r\n\r\n",
        "POST /token HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\ngrant_type=password&password={key}\r\n",
    ],
)
async def test_a_request_that_is_no_http_is_logged_without_what_it_said(
    world: World, spoilt: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = world.gate.key("acme")
    login = base64.b64encode(f"customer:{key}".encode()).decode()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gate.proxy.port)
    writer.write(spoilt.format(login=login, key=key, long="x" * 10_000).encode())
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    assert b" 200 " not in answer
    assert "Error handling request" in caplog.text
    assert key not in caplog.text
    assert login[:20] not in caplog.text
