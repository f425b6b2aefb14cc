"""Images and upstreams are real: a real client takes them, a real registry holds them and keeps strangers out."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from tests.support.catalog import API, CHART, SECRET, WORKER, catalog
from tests.support.content import digest_of, read
from tests.support.images import OCI_INDEX, artifact, image, large_image, referrers_tag
from tests.support.upstreams import DockerRegistry, ScriptedRegistry, TokenServer


async def skopeo(registry: DockerRegistry | ScriptedRegistry, reference: str, directory: Path) -> Path:
    """`skopeo copy --all` of a reference into a folder of plain files."""
    target = directory / reference.replace("/", "_").replace(":", "_")
    credentials = f"--src-creds={registry.username}:{registry.password}"
    source, options = f"docker://{registry.host}/{reference}", ("--all", "--src-tls-verify=false", credentials)
    command = ("/usr/bin/skopeo", "copy", "--quiet", *options, source, f"dir:{target}")
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return target


@pytest.mark.parametrize("auth", ["basic", "token"])
async def test_skopeo_pulls_the_very_bytes_from_a_real_registry(
    auth: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    registry: DockerRegistry = request.getfixturevalue(f"docker_registry_{auth}")
    for repository, tag in ((API, "stable"), (WORKER, "docker"), (CHART, "0.1.0")):
        held = catalog()[repository, tag]
        copied = await skopeo(registry, f"{repository}:{tag}", tmp_path)
        assert (copied / "manifest.json").read_bytes() == held.manifest
        for part in held.walk():
            for digest, data in part.blobs.items():
                assert (copied / digest.removeprefix("sha256:")).read_bytes() == data


@pytest.mark.parametrize("auth", ["basic", "token"])
async def test_a_real_registry_refuses_who_has_no_password(
    auth: str, http: aiohttp.ClientSession, request: pytest.FixtureRequest
) -> None:
    registry: DockerRegistry = request.getfixturevalue(f"docker_registry_{auth}")
    async with http.get(f"{registry.url}/v2/{SECRET}/manifests/1.0.0") as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith({"basic": "Basic ", "token": "Bearer "}[auth])


async def test_a_token_of_less_than_was_asked_for_is_refused_by_the_real_registry(http: aiohttp.ClientSession) -> None:
    async with DockerRegistry("token") as registry:
        assert registry.tokens is not None
        await registry.push("closed", "1", image("closed"))
        registry.tokens.unreadable.add("closed")
        token = registry.tokens.issue(("repository:closed:pull",))
        headers = {"Authorization": f"Bearer {token}"}
        async with http.get(f"{registry.url}/v2/closed/manifests/1", headers=headers) as response:
            assert response.status == 401


async def test_a_real_registry_holds_what_was_pushed_untagged_until_it_is_deleted(http: aiohttp.ClientSession) -> None:
    async with DockerRegistry() as registry:
        subject = image("subject")
        await registry.push("app", None, subject)
        await registry.push_referrers("app", subject, [artifact(subject)])
        tag, accept = referrers_tag(subject.digest), {"Accept": OCI_INDEX}
        async with http.get(f"{registry.url}/v2/app/manifests/{tag}", headers=accept) as response:
            listing = json.loads(await response.read())
            assert [one["artifactType"] for one in listing["manifests"]] == ["application/vnd.example.sbom"]
        await registry.delete("app", subject.digest)
        async with http.get(f"{registry.url}/v2/app/manifests/{subject.digest}") as response:
            assert response.status == 404


async def test_a_large_layer_is_never_in_memory_and_always_the_same(http: aiohttp.ClientSession) -> None:
    large = large_image(3_000_000)
    (digest,) = large.layers
    stream = large.streams[digest]
    assert digest_of(read(stream)) == digest
    assert b"".join(stream.chunks(500, 2_000_001)) == read(stream)[500:2_000_001]
    async with DockerRegistry() as registry:
        await registry.push("large", "1", large)
        async with http.get(f"{registry.url}/v2/large/blobs/{digest}") as response:
            assert digest_of(await response.read()) == digest


def test_images_are_the_same_for_the_same_seed_and_differ_for_others() -> None:
    assert image("one") == image("one")
    assert image("one").digest != image("two").digest


# The token server.


async def test_the_token_server_takes_get_and_post_and_records_who_asked(http: aiohttp.ClientSession) -> None:
    async with TokenServer("u", "CANARY-p") as server:
        basic = {"Authorization": aiohttp.encode_basic_auth("u", "CANARY-p")}
        scopes = [("scope", "repository:host:5000/a:pull"), ("scope", "repository:b:pull")]
        async with http.get(server.realm, params=scopes, headers=basic) as response:
            assert (await response.json())["token"] in server.issued
        form = {"grant_type": "password", "username": "u", "password": "CANARY-p", "scope": "repository:b:pull,push"}
        async with http.post(server.realm, data=form) as response:
            assert response.status == 200
        async with http.get(server.realm) as response:
            assert response.status == 401
    first, second, third = server.requests
    assert first.authorization == basic["Authorization"]
    assert first.scopes == ("repository:host:5000/a:pull", "repository:b:pull")
    assert (second.method, second.form["grant_type"], second.username) == ("POST", "password", "u")
    assert third.authorization is None


async def test_the_token_servers_switches_change_its_answer(http: aiohttp.ClientSession) -> None:
    async with TokenServer("u", "CANARY-p") as server:
        server.answer_with, server.expires_in, server.refresh_token = ("access_token",), 7, "r"
        basic = {"Authorization": aiohttp.encode_basic_auth("u", "CANARY-p")}
        async with http.get(server.realm, params={"offline_token": "true"}, headers=basic) as response:
            body = await response.json()
            assert set(body) == {"access_token", "expires_in", "refresh_token"}
            assert body["expires_in"] == 7
        async with http.post(server.realm, data={"grant_type": "refresh_token", "refresh_token": "r"}) as response:
            assert response.status == 200
        server.post_status = 405
        async with http.post(server.realm, data={"grant_type": "password"}) as response:
            assert response.status == 405
        server.fail_status, server.fail_headers = 429, {"Retry-After": "9"}
        async with http.get(server.realm, headers=basic) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "9")


@pytest.mark.parametrize("auth", ["basic", "token"])
async def test_skopeo_pulls_from_a_scripted_registry_that_asks_for_credentials(auth: str, tmp_path: Path) -> None:
    async with ScriptedRegistry("basic" if auth == "basic" else "token") as registry:
        held = image("held")
        registry.add("app", "1", held)
        copied = await skopeo(registry, "app:1", tmp_path)
        assert (copied / "manifest.json").read_bytes() == held.manifest
        assert registry.received("GET", "^/v2/$")[0].headers.get("Authorization") is None
        assert bool(registry.received(".*", "^/token")) == (auth == "token")
