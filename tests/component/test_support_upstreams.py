"""The doubles do what they claim: what a test says of the proxy is worth no more than this."""

from __future__ import annotations

import asyncio
import json
import ssl

import aiohttp
import pytest
from yarl import URL

from tests.support.catalog import API, STABLE, catalog, referrers
from tests.support.content import digest_of
from tests.support.images import Image, image
from tests.support.ports import UNRESOLVABLE_HOST, Blackhole, dead_port, unaccepting_port
from tests.support.tls import Authority
from tests.support.upstreams import Ending, S3Like, ScriptedRegistry, faults
from tests.support.upstreams.scripted import Fault

LAYER_SIZE = 200_000


@pytest.fixture
def blob(scripted: ScriptedRegistry) -> str:
    """The path of a layer of LAYER_SIZE bytes and more at `scripted`."""
    held = image("a blob", layers=1, layer_size=LAYER_SIZE)
    scripted.add("faulty", "1", held)
    return f"/v2/faulty/blobs/{held.layers[0]}"


async def until(server: ScriptedRegistry, connections: int) -> None:
    """Wait until so many connections of `server` are open."""
    async with asyncio.timeout(10):
        while server.open_connections != connections:
            await asyncio.sleep(0.005)


# Right.


async def test_a_scripted_registry_pages_tags_and_filters_referrers(
    scripted: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{scripted.url}/v2/{API}/tags/list?n=2") as response:
        assert (await response.json())["tags"] == ["1.0.0", "1.4.0"]
        assert response.headers["Link"] == f'</v2/{API}/tags/list?n=2&last=1.4.0>; rel="next"'
    path = f"/v2/{API}/referrers/{catalog()[API, STABLE].digest}"
    async with http.get(scripted.url + path) as response:
        found = json.loads(await response.read())["manifests"]
        assert [one["digest"] for one in found] == [one.digest for one in referrers()]
    async with http.get(scripted.url + path, params={"artifactType": "application/vnd.example.sbom"}) as response:
        assert len(json.loads(await response.read())["manifests"]) == 1
        assert response.headers["OCI-Filters-Applied"] == "artifactType"


async def test_ranges_are_served_and_can_be_broken(
    scripted: ScriptedRegistry, http: aiohttp.ClientSession, blob: str
) -> None:
    async def get(**headers: str) -> tuple[int, str | None, bytes]:
        async with http.get(scripted.url + blob, headers=headers) as response:
            return response.status, response.headers.get("Content-Range"), await response.read()

    _, _, whole = await get()
    size, etag = len(whole), f'"{digest_of(whole)}"'
    assert await get(Range="bytes=10-") == (206, f"bytes 10-{size - 1}/{size}", whole[10:])
    assert await get(Range="bytes=10-19") == (206, f"bytes 10-19/{size}", whole[10:20])
    assert await get(Range="bytes=-5") == (206, f"bytes {size - 5}-{size - 1}/{size}", whole[-5:])
    assert (await get(Range=f"bytes={size}-"))[0] == 416
    assert (await get(**{"Range": "bytes=10-", "If-Range": etag}))[0] == 206
    assert (await get(**{"Range": "bytes=10-", "If-Range": '"other"'})) == (200, None, whole)
    scripted.on("GET", "/blobs/", faults.changed_on_resume(), times=2)
    changed = await get(Range="bytes=10-")
    assert changed[:2] == (206, f"bytes 10-{size - 1}/{size}")
    assert changed[2] != whole[10:]
    assert (await get(**{"Range": "bytes=10-", "If-Range": etag}))[0] == 200
    scripted.on("GET", "/blobs/", faults.wrong_content_range(), times=1)
    assert (await get(Range="bytes=10-"))[1] == "bytes 0-0/1"
    scripted.on("GET", "/blobs/", faults.range_ignored(), times=1)
    assert await get(Range="bytes=10-") == (200, None, whole)
    scripted.ranges = False
    assert (await get(Range="bytes=10-"))[0] == 200


# Wrong.


@pytest.mark.parametrize("fault", [faults.close_after(100_000), faults.reset_after(100_000)], ids=["close", "reset"])
async def test_a_cut_body_has_the_right_length_and_exactly_so_many_bytes(
    fault: Fault, scripted: ScriptedRegistry, http: aiohttp.ClientSession, blob: str
) -> None:
    async with http.get(scripted.url + blob) as response:
        whole = await response.read()
    scripted.on("GET", "/blobs/", fault, times=1)
    async with http.get(scripted.url + blob) as response:
        assert int(response.headers["Content-Length"]) == len(whole)
        assert await response.content.readexactly(100_000) == whole[:100_000]
        with pytest.raises((aiohttp.ClientPayloadError, ConnectionResetError)):
            await response.content.readexactly(1)
    async with http.get(scripted.url + blob) as response:
        assert await response.read() == whole


async def test_a_hanging_body_goes_on_when_its_gate_opens(
    scripted: ScriptedRegistry, http: aiohttp.ClientSession, blob: str
) -> None:
    gate = asyncio.Event()
    scripted.on("GET", "/blobs/", faults.hang_after(1000, gate), times=1)
    async with http.get(scripted.url + blob) as response:
        received = await response.content.readexactly(1000)
        gate.set()
        received += await response.read()
    assert digest_of(received) == blob.rpartition("/")[2]


async def test_a_hanging_answer_ends_when_the_client_leaves(
    scripted: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    scripted.on("GET", "/manifests/", faults.hang())
    pull = asyncio.create_task(http.get(f"{scripted.url}/v2/{API}/manifests/stable"))
    await until(scripted, 1)
    assert not pull.done()
    pull.cancel()
    await until(scripted, 0)


@pytest.mark.parametrize("how", [Ending.CLOSE, Ending.RESET])
async def test_a_connection_can_end_before_its_first_request(
    how: Ending, scripted: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    # As often as the client tries again by itself.
    scripted.on_connect(how, times=2)
    with pytest.raises(aiohttp.ClientConnectionError):
        await http.get(f"{scripted.url}/v2/")
    scripted.heal()
    async with http.get(f"{scripted.url}/v2/") as response:
        assert response.status == 200


async def test_a_falsified_answer_is_wrong_in_just_the_one_thing(
    scripted: ScriptedRegistry, http: aiohttp.ClientSession, blob: str
) -> None:
    digest = blob.rpartition("/")[2]
    scripted.on("GET", "/blobs/", faults.corrupt(at=5000), times=1)
    async with http.get(scripted.url + blob) as response:
        corrupt = await response.read()
        assert response.headers["Docker-Content-Digest"] == digest
    scripted.on("GET", "/blobs/", faults.shortened(100), times=1)
    async with http.get(scripted.url + blob) as response:
        assert len(await response.read()) == response.content_length == 100
    scripted.on("GET", "/blobs/", faults.wrong_digest(), times=1)
    async with http.get(scripted.url + blob) as response:
        whole = await response.read()
        assert response.headers["Docker-Content-Digest"] != digest_of(whole) == digest
    scripted.on("HEAD", "/blobs/", faults.no_digest(), times=1)
    async with http.head(scripted.url + blob) as response:
        assert "Docker-Content-Digest" not in response.headers
    assert [at for at, (one, other) in enumerate(zip(corrupt, whole, strict=True)) if one != other] == [5000]


async def test_scripts_take_turns_and_leave_other_requests_alone(
    scripted: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    missing = scripted.on("HEAD", f"/{API}/manifests/", faults.refuse(404, "MANIFEST_UNKNOWN"))
    scripted.on("GET", f"/{API}/manifests/", faults.rate_limited("7"), times=1, skip=1)
    scripted.on("GET", f"/{API}/manifests/", faults.redirect("http://elsewhere.invalid/x%2Fy"), times=1, skip=1)
    url = f"{scripted.url}/v2/{API}/manifests/stable"
    seen = []
    for _ in range(4):
        async with http.get(url, allow_redirects=False) as response:
            seen.append(response.status)
    async with http.head(url) as response:
        assert response.status == 404
    assert sorted(seen) == [200, 200, 307, 429]
    assert missing.hits == 1


async def test_an_endless_body_ends_with_its_reader(scripted: ScriptedRegistry, http: aiohttp.ClientSession) -> None:
    scripted.on("GET", "/manifests/", faults.endless())
    async with http.get(f"{scripted.url}/v2/{API}/manifests/stable") as response:
        assert len(await response.content.readexactly(1_000_000)) == 1_000_000
        response.close()
    await until(scripted, 0)
    assert scripted.body_bytes >= 1_000_000


async def test_bytes_that_are_no_http_come_as_they_are(scripted: ScriptedRegistry) -> None:
    scripted.on("GET", "/v2/", faults.raw(b"HTTP/1.1 200 OK\r\nX-Bad: a\x00b\r\nContent-Length: -1\r\n\r\n"))
    name, _, port = scripted.host.partition(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    writer.write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await reader.read() == b"HTTP/1.1 200 OK\r\nX-Bad: a\x00b\r\nContent-Length: -1\r\n\r\n"
    writer.close()


async def test_faults_after_login_leave_the_challenge_alone(http: aiohttp.ClientSession) -> None:
    async with ScriptedRegistry("token") as registry:
        registry.add("app", "1", image("app"))
        registry.on("GET", "/manifests/", faults.answer(500), after_login=True)
        async with http.get(f"{registry.url}/v2/app/manifests/1") as response:
            assert response.status == 401
            assert f'realm="{registry.url}/token"' in response.headers["WWW-Authenticate"]
        basic = {"Authorization": aiohttp.encode_basic_auth(registry.username, registry.password)}
        async with http.get(f"{registry.url}/token", headers=basic) as response:
            headers = {"Authorization": f"Bearer {(await response.json())['token']}"}
        async with http.get(f"{registry.url}/v2/app/manifests/1", headers=headers) as response:
            assert response.status == 500
        registry.login.tokens.clear()
        async with http.get(f"{registry.url}/v2/app/manifests/1", headers=headers) as response:
            assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


# Other origins, TLS, and addresses where nobody answers.


async def test_blobs_are_redirected_to_another_origin_that_takes_no_changed_url_and_no_credentials(
    scripted: ScriptedRegistry, http: aiohttp.ClientSession, blob: str
) -> None:
    async with S3Like() as store:
        scripted.blob_store = store
        async with http.get(scripted.url + blob, allow_redirects=False) as response:
            location = response.headers["Location"]
            assert response.status == 307
        assert URL(location).host != URL(scripted.url).host
        async with http.get(URL(location, encoded=True)) as response:
            assert digest_of(await response.read()) == blob.rpartition("/")[2]
        async with http.get(URL(location)) as response:
            assert response.status == 403
        async with http.get(URL(location, encoded=True), headers={"Authorization": "Bearer x"}) as response:
            assert response.status == 400
        assert store.requests[-1].headers["Authorization"] == "Bearer x"


async def test_a_certificate_is_good_only_with_its_authority_its_time_and_its_name(
    authority: Authority, http: aiohttp.ClientSession
) -> None:
    trusting = ssl.create_default_context(cadata=authority.pem)
    async with ScriptedRegistry(tls=authority.server()) as good:
        async with http.get(f"{good.url}/v2/", ssl=trusting) as response:
            assert response.status == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError, match=r"self-signed|unable to get"):
            await http.get(f"{good.url}/v2/")
    async with ScriptedRegistry(tls=authority.server(expired=True)) as expired:
        with pytest.raises(aiohttp.ClientConnectorCertificateError, match="expired"):
            await http.get(f"{expired.url}/v2/", ssl=trusting)
    async with ScriptedRegistry(tls=authority.server(("other.example",))) as other:
        with pytest.raises(aiohttp.ClientConnectorCertificateError, match=r"mismatch|not valid for"):
            await http.get(f"{other.url}/v2/", ssl=trusting)


async def test_a_body_is_reset_over_tls_too(authority: Authority, http: aiohttp.ClientSession) -> None:
    held: Image = image("tls", layers=1, layer_size=LAYER_SIZE)
    async with ScriptedRegistry(tls=authority.server()) as registry:
        registry.add("app", "1", held)
        registry.on("GET", "/blobs/", faults.reset_after(1000))
        trusting = ssl.create_default_context(cadata=authority.pem)
        async with http.get(f"{registry.url}/v2/app/blobs/{held.layers[0]}", ssl=trusting) as response:
            with pytest.raises((aiohttp.ClientPayloadError, ConnectionResetError)):
                await response.read()


async def test_an_address_fails_in_the_way_that_its_name_says(http: aiohttp.ClientSession) -> None:
    with dead_port() as host, pytest.raises(aiohttp.ClientConnectorError, match=r"refused|Connect call failed"):
        await http.get(f"http://{host}/v2/")
    with pytest.raises(aiohttp.ClientConnectorDNSError):
        await http.get(f"http://{UNRESOLVABLE_HOST}/v2/")
    async with Blackhole() as hole:
        with pytest.raises(aiohttp.ServerTimeoutError):
            await http.get(f"http://{hole.host}/v2/", timeout=aiohttp.ClientTimeout(sock_read=0.2))
        assert hole.connections >= 1
    async with unaccepting_port() as host:
        with pytest.raises(aiohttp.ConnectionTimeoutError):
            await http.get(f"http://{host}/v2/", timeout=aiohttp.ClientTimeout(sock_connect=0.2))
