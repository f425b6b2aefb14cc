"""Quirks of each provider's registry, by name (more: tests/component/upstream)."""

from __future__ import annotations

import pytest

from pullgate import faults
from pullgate.policy.tenancy import LOOPBACK
from pullgate.providers.credentials import Credentials
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import UpstreamConfig
from tests.providers.asking import CHILD, asking, blob, manifest
from tests.providers.stage import SMALL
from tests.support.fakes.flavours import FLAVOURS, LOGINS
from tests.support.fakes.front import Front

pytestmark = pytest.mark.asyncio


async def test_docker_hubs_head_stays_a_head_for_it_is_not_counted(held: str) -> None:
    async with asking("DockerHub", held) as (front, upstream):
        found = await upstream.resolve_manifest(manifest(front, "HEAD"))
        assert found.digest == SMALL.digest
        assert {method for method, path in front.asked if "/manifests/" in path} == {"HEAD"}


async def test_docker_hubs_error_without_errors_means_a_wrong_login(held: str) -> None:
    async with asking("DockerHub", held) as (front, upstream):
        front.revoke()
        with pytest.raises(faults.UpstreamUnauthorized):
            await upstream.fetch_manifest(manifest(front))


async def test_docker_hubs_token_server_is_another_host_that_is_listed(held: str) -> None:
    async with asking("DockerHub", held) as (front, upstream):
        await upstream.fetch_manifest(manifest(front))
        assert front.realm.startswith(f"http://{front.token_host}/")


async def test_ecrs_403_of_an_expired_password_is_no_missing_permission(held: str) -> None:
    async with asking("ECR", held) as (front, upstream):
        front.expire()
        with pytest.raises(faults.UpstreamUnauthorized):
            await upstream.fetch_manifest(manifest(front))


async def test_ecrs_blobs_are_fetched_from_the_store_without_the_password(held: str) -> None:
    async with asking("ECR", held) as (front, upstream):
        response = await upstream.send(blob(front))
        assert response.status == 200
        assert await response.read(10_000) == CHILD.blobs[CHILD.config]
        assert any(path.startswith("/v2/") and "/blobs/" in path for _, path in front.asked)


@pytest.mark.parametrize("type_", ["ECR", "Artifactory"])
async def test_a_head_without_a_digest_is_made_good_by_a_get(held: str, type_: str) -> None:
    async with asking(type_, held) as (front, upstream):
        found = await upstream.resolve_manifest(manifest(front, "HEAD"))
        assert (found.digest, found.length) == (SMALL.digest, len(SMALL.manifest))


async def test_nexus_404_of_a_head_is_made_good_by_a_get(held: str) -> None:
    async with asking("Nexus", held) as (front, upstream):
        assert (await upstream.resolve_manifest(manifest(front, "HEAD"))).digest == SMALL.digest


async def test_ecr_publics_400_of_an_expired_token_brings_a_new_one(held: str) -> None:
    async with asking("ECRPublic", held) as (front, upstream):
        await upstream.fetch_manifest(manifest(front))
        front.tokens = dict.fromkeys(front.tokens, False)
        assert (await upstream.fetch_manifest(manifest(front))).digest == SMALL.digest
        assert len(front.tokens) == 2


@pytest.mark.parametrize("type_", ["GAR", "Harbor"])
async def test_a_token_server_without_post_is_asked_by_get(held: str, type_: str) -> None:
    async with asking(type_, held) as (front, upstream):
        assert front.flavour.post_status in {404, 405}
        await upstream.fetch_manifest(manifest(front))
        assert {method for method, path in front.asked if path == front.flavour.token_path} == {"GET"}


async def test_googles_key_is_the_password_of_json_key(held: str) -> None:
    async with asking("GAR", held) as (front, upstream):
        await upstream.fetch_manifest(manifest(front))
        ((user, password),) = front.accepted
        assert (user, password) == ("_json_key", LOGINS["GAR"]["serviceAccountKey"])


@pytest.mark.parametrize("user", ["oauth2accesstoken", "_json_key", "_json_key_base64"])
async def test_googles_users_say_what_the_password_is_and_are_shown_as_they_are(held: str, user: str) -> None:
    async with asking("GAR", held, {"username": user, "password": "ya29.CANARY-SECRET"}) as (front, upstream):
        await upstream.fetch_manifest(manifest(front))
        assert front.logins == [(user, "ya29.CANARY-SECRET")]


async def test_ghcrs_403_of_its_token_server_is_a_wrong_token(held: str) -> None:
    async with asking("GHCR", held) as (front, upstream):
        front.revoke()
        with pytest.raises(faults.UpstreamUnauthorized):
            await upstream.fetch_manifest(manifest(front))


async def test_ghcr_is_shown_the_types_that_the_client_takes(held: str) -> None:
    async with asking("GHCR", held) as (front, upstream):
        assert (await upstream.fetch_manifest(manifest(front))).digest == SMALL.digest
        with pytest.raises(faults.ManifestUnknown):
            await upstream.fetch_manifest(manifest(front, accept=("application/vnd.oci.image.manifest.v1+json",)))


async def test_quays_robot_keeps_the_plus_of_its_name(held: str) -> None:
    async with asking("Quay", held) as (front, upstream):
        await upstream.fetch_manifest(manifest(front))
        assert {user for user, _ in front.accepted} == {"my-org+puller"}
        assert ("GET", "/v2/auth") in front.asked


async def test_harbors_robot_keeps_the_dollar_of_its_name(held: str) -> None:
    async with asking("Harbor", held) as (front, upstream):
        await upstream.fetch_manifest(manifest(front))
        assert {user for user, _ in front.accepted} == {"robot$my-org+puller"}


async def test_acrs_token_is_called_access_token(held: str) -> None:
    async with asking("ACR", held) as (front, upstream):
        assert front.flavour.token_field == "access_token"
        await upstream.fetch_manifest(manifest(front))


async def test_acrs_refresh_token_is_the_password_of_the_null_guid(held: str) -> None:
    login = {"username": "00000000-0000-0000-0000-000000000000", "password": "eyJCANARY-SECRET"}
    async with asking("ACR", held, login) as (front, upstream):
        await upstream.fetch_manifest(manifest(front))
        assert front.logins == [("00000000-0000-0000-0000-000000000000", "eyJCANARY-SECRET")]
        assert front.asked[1][1] == "/oauth2/token"


async def test_gitlabs_tokens_of_five_minutes_are_renewed_before_they_end(held: str) -> None:
    now = [1000.0]
    async with asking("GitLab", held, clock=lambda: now[0]) as (front, upstream):
        assert front.flavour.expires_in == 300
        await upstream.fetch_manifest(manifest(front))
        now[0] += 200
        await upstream.fetch_manifest(manifest(front))
        assert len(front.logins) == 1
        now[0] += 98
        await upstream.fetch_manifest(manifest(front))
        assert len(front.logins) == 2


async def test_gitlabs_token_server_must_be_listed_where_its_host_is_another(held: str) -> None:
    async with asking("GitLab", held) as (front, upstream):
        await upstream.fetch_manifest(manifest(front))
        assert ("GET", "/jwt/auth") in front.asked
    async with Front(FLAVOURS["GitLab"], held) as front:
        config = UpstreamConfig(
            "a/b", front.host, front.host, Credentials("u", "CANARY-u"), plain_http=True, networks=LOOPBACK
        )
        foreign = "127.0.0.2" + front.token_host.removeprefix("127.0.0.1")
        front.token_host = foreign
        async with Upstream(config) as upstream:
            with pytest.raises(faults.RealmRefused):
                await upstream.fetch_manifest(manifest(front))
        assert ("GET", "/jwt/auth") not in front.asked


async def test_digitaloceans_token_is_user_and_password_both(held: str) -> None:
    async with asking("DigitalOcean", held) as (front, upstream):
        await upstream.fetch_manifest(manifest(front))
        assert front.accepted == {("dop_v1_CANARY-SECRET", "dop_v1_CANARY-SECRET")}


async def test_two_credentials_for_one_upstream_share_no_token(held: str) -> None:
    async with asking("Quay", held) as (front, upstream):
        await upstream.fetch_manifest(manifest(front))
        other = UpstreamConfig(
            "my-app/other",
            front.host,
            front.host,
            Credentials("stranger", "CANARY-wrong"),
            plain_http=True,
            allow_private=True,
            networks=LOOPBACK,
        )
        async with Upstream(other) as stranger:
            with pytest.raises(faults.UpstreamUnauthorized):
                await stranger.fetch_manifest(manifest(front))
