"""The second tier: what one replica fetched the others have from the store; Redirect leads there by a signed URL."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pullgate.oci.digest import digest_of
from pullgate_proxy.app import Proxy
from pullgate_proxy.cache.blobs.ask import Ask, Place
from pullgate_proxy.cache.blobs.objects import Location, ObjectStore, parse_location
from tests.support.fakes.clouds.aws import moto
from tests.support.gate import APP, Gate, license_, registry, running
from tests.support.images import image, large_image
from tests.support.ports import free_port
from tests.support.upstreams import ScriptedRegistry, faults

LARGE = large_image(6 * 2**20)
LAYER = next(iter(LARGE.streams))
PATH = f"/v2/proxy/{APP}/upstream/my-org/large/blobs/{LAYER}"
KEY = Location("my-bucket", "pullgate/").key(LAYER)
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIACANARYSTORE",
    "AWS_SECRET_ACCESS_KEY": "CANARY-STORE-SECRET",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a store with the bucket my-bucket."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with moto() as url:
        yield url


@dataclass(frozen=True, slots=True)
class World:
    gate: Gate
    upstream: ScriptedRegistry
    directory: Path

    async def get(self, path: str = PATH, proxy: Proxy | None = None) -> Any:
        return await self.gate.ask("GET", path, self.gate.key("acme"), proxy=proxy)

    def asked(self, method: str = "GET") -> int:
        return len(self.upstream.received(method, "/blobs/"))

    def store(self, proxy: Proxy | None = None) -> ObjectStore:
        blobs = (proxy or self.gate.proxy).caches.blobs
        assert blobs is not None
        assert blobs.store is not None
        return blobs.store

    def place(self, repository: str = "my-org/large") -> Place:
        proxy = self.gate.proxy
        facts = proxy.snapshot.registry_named(APP, "upstream")
        assert facts is not None
        current = functools.partial(proxy._upstreams.get, facts)
        current()
        return Ask(proxy._upstreams.where(facts), repository, LAYER, current).place

    async def until_uploaded(self, repository: str = "my-org/large") -> None:
        """The blob, and the proof of `repository`, which comes after it."""
        store, key = self.store(), self.store()._location.proof_key(self.place(repository))

        def uploaded() -> bool:
            known = store._known.get(key)
            return known is not None and known[0] is not None

        await self.gate.until(uploaded)

    async def another(self) -> Proxy:
        """A replica with a disk of its own."""
        proxy = await self.gate.start_proxy(blob_cache=self.directory / "other")
        await self.gate.until(lambda: proxy.snapshot.synced and bool(proxy.snapshot.signing_keys.keys))
        return proxy


@contextlib.asynccontextmanager
async def world_of(directory: Path, endpoint: str, delivery: str = "Stream") -> AsyncIterator[World]:
    async with ScriptedRegistry() as upstream, aiohttp.ClientSession() as session:
        with contextlib.suppress(aiohttp.ClientError):  # in the test of one that is away
            await session.post(f"{endpoint}/moto-api/reset")
            await session.put(f"{endpoint}/my-bucket")
        await upstream.push("my-org/large", "1", LARGE)
        documents = [registry("upstream", upstream.host, delivery=delivery), license_("acme")]
        location = Location("my-bucket", "pullgate/", endpoint)
        settings = {"blob_cache": directory / "cache", "object_store": location}
        async with running(directory / "resources", *documents, **settings) as gate:
            yield World(gate, upstream, directory)


async def test_what_one_replica_fetched_the_next_has_from_the_store(s3: str, tmp_path: Path) -> None:
    async with world_of(tmp_path, s3) as world:
        assert digest_of((await world.get()).body) == LAYER
        await world.until_uploaded()
        other = await world.another()
        answer = await world.get(proxy=other)
        assert (answer.status, digest_of(answer.body)) == (200, LAYER)
        assert world.asked() == 1
        value = other.metrics.registry.get_sample_value("pullgate_blob_fetched_bytes_total", {"source": "store"})
        assert value == len(answer.body)


async def test_redirect_leads_to_a_signed_url_of_the_store_once_the_blob_is_there(s3: str, tmp_path: Path) -> None:
    async with world_of(tmp_path, s3, "Redirect") as world:
        first = await world.get()
        assert (first.status, digest_of(first.body)) == (200, LAYER)
        await world.until_uploaded()
        answer = await world.get()
        assert (answer.status, answer.headers["X-Pullgate-Cache"]) == (307, "store")
        url = answer.headers["Location"]
        assert url.startswith(f"{s3}/my-bucket/pullgate/blobs/sha256/")
        assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["300"]
        assert "CANARY-STORE-SECRET" not in url
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert digest_of(await response.read()) == LAYER
        assert world.asked() == 1


async def test_a_blob_in_the_store_is_handed_out_only_where_its_own_upstream_has_it(s3: str, tmp_path: Path) -> None:
    for delivery in ("Stream", "Redirect"):
        async with world_of(tmp_path / delivery, s3, delivery) as world:
            await world.get()
            await world.until_uploaded()
            await world.upstream.push("my-org/other", "1", image("other"))
            other = await world.another()
            answer = await world.get(PATH.replace("large", "other"), proxy=other)
            assert (answer.status, answer.fault) == (404, "BlobUnknown")


async def test_the_license_is_asked_before_a_redirect(s3: str, tmp_path: Path) -> None:
    async with world_of(tmp_path, s3, "Redirect") as world:
        await world.get()
        await world.until_uploaded()
        await world.gate.apply(license_("acme", suspended={"reason": "invoice 77 unpaid"}))
        answer = await world.gate.until_status(PATH, world.gate.key("acme"), 403)
        assert "Location" not in answer.headers


async def test_a_store_that_is_away_costs_no_pull_and_no_signature_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    async with world_of(tmp_path, f"http://127.0.0.1:{free_port()}") as world:
        for _ in range(2):
            assert digest_of((await world.get()).body) == LAYER
        await world.gate.until(lambda: bool(world.store().problem))
        assert "pullgate_object_store_usable 0.0" in world.gate.proxy.metrics.render().decode()
        assert world.asked() == 1
        assert "s3://my-bucket is left alone" in caplog.text
        assert "X-Amz" not in caplog.text


async def test_credentials_that_the_store_refuses_are_told_until_it_takes_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    async def refuse(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=403)

    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", refuse)
    async with TestServer(app) as server, world_of(tmp_path, str(server.make_url("")).rstrip("/")) as world:
        assert digest_of((await world.get()).body) == LAYER
        await world.gate.until(lambda: bool(world.store().problem))
        world.store()._again_at = 0.0
        world.store()._known.clear()
        assert await world.store().locate(world.place()) is None  # 403 may mean that it is not there
        page = world.gate.proxy.metrics.render().decode()
        assert "pullgate_object_store_usable 0.0" in page
        assert 'pullgate_object_store_uploads_total{result="failed"} 1.0' in page


async def test_what_the_store_has_changed_is_not_served(s3: str, tmp_path: Path) -> None:
    async with world_of(tmp_path, s3) as world:
        whole = (await world.get()).body
        await world.until_uploaded()
        url = await world.store()._sign("put_object", KEY)
        async with aiohttp.ClientSession() as session, session.put(url, data=whole[:-1] + b"?") as response:
            assert response.status == 200
        other = await world.another()
        with pytest.raises(aiohttp.ClientPayloadError):
            await world.get(proxy=other)
        answer = await world.get(proxy=other)
        assert digest_of(answer.body) == LAYER
        assert world.asked() == 2


async def test_a_file_that_somebody_wrote_to_is_not_uploaded(s3: str, tmp_path: Path) -> None:
    async with world_of(tmp_path, s3) as world, aiohttp.ClientSession() as session:
        await world.get()
        await world.until_uploaded()
        store = world.store()
        async with session.delete(await store._sign("delete_object", KEY)) as deleted:
            assert deleted.status == 204
        store._known.clear()
        name = LAYER.partition(":")[2]
        file = tmp_path / "cache" / "blobs" / "sha256" / name[:2] / name
        file.chmod(0o600)
        with file.open("r+b") as opened:
            opened.write(b"garbage")
        await store._upload(world.place())
        async with session.head(await store._sign("head_object", KEY)) as head:
            assert head.status == 404


async def test_an_object_that_is_gone_is_fetched_from_the_upstream(s3: str, tmp_path: Path) -> None:
    async with world_of(tmp_path, s3) as world:
        await world.get()
        await world.until_uploaded()
        other = await world.another()
        world.store(other)._note(KEY, 1)
        url = await world.store()._sign("delete_object", KEY)
        async with aiohttp.ClientSession() as session, session.delete(url) as response:
            assert response.status == 204
        assert digest_of((await world.get(proxy=other)).body) == LAYER


async def test_a_refusal_of_the_upstream_is_told_though_the_store_has_the_blob(s3: str, tmp_path: Path) -> None:
    async with world_of(tmp_path, s3) as world:
        await world.get()
        await world.until_uploaded()
        world.upstream.on("GET|HEAD", "/blobs/", faults.refuse(403, "DENIED"))
        other = await world.another()
        assert (await world.get(proxy=other)).fault == "UpstreamForbidden"


@pytest.mark.parametrize(
    ("text", "prefix"), [("s3://my-bucket", ""), ("s3://my-bucket/", ""), ("s3://my-bucket/a/b/", "a/b/")]
)
def test_a_location_is_a_bucket_and_a_prefix(text: str, prefix: str) -> None:
    assert parse_location(text) == Location("my-bucket", prefix)


@pytest.mark.parametrize("text", ["my-bucket", "s3://", "s3://My-Bucket", "https://my-bucket", "s3://b/\n"])
def test_a_location_that_is_none_is_told_how_to_write_it(text: str) -> None:
    with pytest.raises(ValueError, match="write it like s3://my-bucket/pullgate"):
        parse_location(text)
