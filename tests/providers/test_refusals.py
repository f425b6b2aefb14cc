"""Each provider's refusals, as it gives them: whose move it is, and the provider's own sentence.

The answers and their sources are in `tests.support.fakes.flavours`.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pullgate import faults
from pullgate.policy.tenancy import LOOPBACK
from pullgate.providers.credentials import Credentials
from pullgate.providers.hints import hint
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.login import check_login
from pullgate.upstream.request import UpstreamRequest
from tests.providers.asking import CHILD, REPOSITORY, asking, asking_flavour, blob, manifest
from tests.providers.stage import SMALL, world_of
from tests.support.cli import pullgate
from tests.support.clients.daemonless import Crane
from tests.support.fakes.flavours import (
    ACR_BLOCKED,
    DIGITALOCEAN_400,
    ECR_DENIED,
    ELSEWHERE,
    FLAVOURS,
    NEXUS_PAGE,
    NVCR,
    QUAY_DISABLED,
    XRAY_BLOCKED,
)
from tests.support.fakes.front import Flavour, Front

pytestmark = pytest.mark.asyncio

LOGIN = Credentials("$oauthtoken", "CANARY-nvapi")
SECRET = "my-org/secret"
OTHERS = {"nvcr.io": NVCR, "Scaleway": ELSEWHERE, "DigitalOcean, 400": DIGITALOCEAN_400}
CASES = {**FLAVOURS, **OTHERS}


@contextlib.asynccontextmanager
async def opened(case: str, held: str) -> AsyncIterator[tuple[Front, Upstream]]:
    """A type of the Registry, or one of OTHERS."""
    way = asking_flavour(OTHERS[case], held, LOGIN) if case in OTHERS else asking(case, held)
    async with way as found:
        yield found


def secret(front: Front) -> UpstreamRequest:
    return manifest(front, name=SECRET)


# --- a login that is good, a permission that is missing


@pytest.mark.parametrize("case", CASES)
async def test_a_good_login_without_permission_is_forbidden_and_others_still_pull(case: str, held: str) -> None:
    async with opened(case, held) as (front, upstream):
        front.denied.add(front.flavour.prefix + SECRET)
        for _ in range(2):
            with pytest.raises(faults.UpstreamForbidden):
                await upstream.fetch_manifest(secret(front))
            assert (await upstream.fetch_manifest(manifest(front))).digest == SMALL.digest


@pytest.mark.parametrize("case", CASES)
async def test_a_permission_that_is_given_later_is_noticed(case: str, held: str) -> None:
    async with opened(case, held) as (front, upstream):
        front.denied.add(front.flavour.prefix + SECRET)
        with pytest.raises(faults.UpstreamForbidden):
            await upstream.fetch_manifest(secret(front))
        front.denied.clear()
        assert await upstream.fetch_manifest(secret(front))


@pytest.mark.parametrize("case", CASES)
async def test_a_wrong_login_is_unauthorized_although_a_scope_is_asked_for(case: str, held: str) -> None:
    async with opened(case, held) as (front, upstream):
        front.revoke()
        with pytest.raises(faults.UpstreamUnauthorized):
            await upstream.fetch_manifest(manifest(front))


@pytest.mark.parametrize("case", CASES)
async def test_a_token_that_is_over_is_renewed_and_no_refusal(case: str, held: str) -> None:
    async with opened(case, held) as (front, upstream):
        await upstream.fetch_manifest(manifest(front))
        front.tokens = dict.fromkeys(front.tokens, False)
        assert (await upstream.fetch_manifest(manifest(front))).digest == SMALL.digest


async def test_harbors_robot_that_expires_or_is_disabled_while_it_serves_is_unauthorized(held: str) -> None:
    async with asking("Harbor", held) as (front, upstream):
        await upstream.fetch_manifest(manifest(front))
        front.revoke()
        with pytest.raises(faults.UpstreamUnauthorized):
            await upstream.fetch_manifest(manifest(front))


async def test_quays_unknown_repository_looks_like_one_that_may_not_be_read(held: str) -> None:
    async with asking("Quay", held) as (front, upstream):
        front.denied.add("my-org/no-such")
        with pytest.raises(faults.UpstreamForbidden) as error:
            await upstream.fetch_manifest(manifest(front, name="my-org/no-such"))
        assert "check that this repository exists" in hint("Quay", error.value, repository="my-org/no-such")


async def test_ghcrs_token_of_an_app_logs_in_and_is_refused_a_private_package(held: str) -> None:
    login = {"username": "x-access-token", "token": "ghs_CANARY"}
    async with asking("GHCR", held, login) as (front, upstream):
        front.may = lambda user, repository: repository != SECRET
        (await upstream.ping()).release()
        with pytest.raises(faults.UpstreamForbidden) as error:
            await upstream.fetch_manifest(secret(front))
        words = hint("GHCR", error.value, repository=SECRET, was_issued=True)
        assert "the token of an app reads no private package" in words


# --- the provider's own sentence

SENTENCES = [
    ("GAR", 'downloadArtifacts" denied on resource'),
    ("ECR", "is not authorized to perform: ecr:BatchGetImage on resource: arn:aws:ecr:eu-central-1"),
    ("Quay", "access to the requested resource is not authorized"),
    ("Harbor", "unauthorized to access repository: my-org/secret"),
    ("Artifactory", "The client does not have permission for manifest"),
]


@pytest.mark.parametrize(("type_", "words"), SENTENCES, ids=[row[0] for row in SENTENCES])
async def test_the_vendor_reads_the_providers_own_sentence_and_a_customer_does_not(
    type_: str, words: str, held: str, tmp_path: Path
) -> None:
    async with asking(type_, held) as (front, upstream):
        front.denied.add(front.flavour.prefix + SECRET)
        with pytest.raises(faults.UpstreamForbidden) as error:
            await upstream.fetch_manifest(secret(front))
        assert words in error.value.said
        assert words not in error.value.message
    async with world_of(type_, held, tmp_path) as world:
        world.front.denied.add(world.front.flavour.prefix + SECRET)
        answer = await world.gate.get(world.path("secret"), world.gate.key("acme"))
        assert (answer.status, answer.fault) == (403, "UpstreamForbidden")
        assert words not in answer.message


POLICIES = [
    ("ACR", 403, "DENIED", ACR_BLOCKED, "client with IP '203.0.113.7' is not allowed access"),
    ("Artifactory", 403, "DENIED", XRAY_BLOCKED, "blocking policy configured in Xray"),
    ("Quay", 405, "DENIED", QUAY_DISABLED, "This namespace is disabled"),
    ("Nexus", 400, "UNSUPPORTED", "Not a Docker request", "Not a Docker request"),
    ("ECR", 403, "DENIED", ECR_DENIED, "no identity-based policy allows the ecr:BatchGetImage action"),
]
"""Type, status, code and sentence of a policy's refusal, and the part of it that the vendor reads."""


@pytest.mark.parametrize(
    ("type_", "status", "code", "sentence", "words"), POLICIES, ids=[f"{row[0]}-{row[1]}" for row in POLICIES]
)
async def test_a_policy_of_the_provider_is_the_vendors_move_with_its_sentence(
    type_: str, status: int, code: str, sentence: str, words: str, held: str
) -> None:
    async with asking(type_, held) as (front, upstream):
        front.refused["/manifests/"] = (status, code, sentence)
        for _ in range(7):
            with pytest.raises(faults.UpstreamForbidden) as error:
                await upstream.fetch_manifest(manifest(front))
        assert words in " ".join(error.value.said.split())
        assert not upstream.is_down
        front.refused.clear()
        assert await upstream.fetch_manifest(manifest(front))


@pytest.mark.parametrize(
    ("type_", "status", "code", "sentence", "words"), POLICIES, ids=[f"{row[0]}-{row[1]}" for row in POLICIES]
)
async def test_a_real_client_hears_of_a_policy_as_the_vendors_move_and_the_vendor_reads_its_sentence(
    type_: str, status: int, code: str, sentence: str, words: str, held: str, tmp_path: Path
) -> None:
    async with world_of(type_, held, tmp_path) as world:
        world.front.refused["/manifests/"] = (status, code, sentence)
        key = world.gate.key("acme")
        pulled = await Crane().pull(world.reference(), "acme", key, tmp_path / "pulled")
        text = " ".join(pulled.output.split())
        assert pulled.exit_code != 0
        assert "your license is fine; tell the vendor" in text
        assert words not in text
        record = world.gate.records()[-1]
        assert (record["reason"], words in " ".join(record["message"].split())) == ("UpstreamForbidden", True)
        about = ["--type", type_, "--host", world.front.host, "--plain-http", "--username", world.username]
        image = f"{world.front.flavour.prefix}my-org/small:1"
        ran = await pullgate("registry", "test", *about, "--password-stdin", "--image", image, stdin=world.password)
        assert (ran.code, words in " ".join(ran.output.split())) == (1, True)
        world.front.refused.clear()
        assert (await Crane().pull(world.reference(), "acme", key, tmp_path / "again")).exit_code == 0


async def test_a_real_client_hears_no_invented_time_of_a_limit_and_a_lock_out_by_its_name(
    held: str, tmp_path: Path
) -> None:
    async with world_of("DockerHub", held, tmp_path) as world:
        world.front.locked_out = True
        key = world.gate.key("acme")
        pulled = await Crane().pull(world.reference(), "acme", key, tmp_path / "locked")
        assert pulled.exit_code != 0
        assert "refuses logins to the vendor's account for now" in " ".join(pulled.output.split())
    async with world_of("DockerHub", held, tmp_path / "other") as world:
        world.front.refused["/manifests/"] = (429, "TOOMANYREQUESTS", "pull rate limit")
        answer = await world.gate.get(world.path(), world.gate.key("acme"))
        assert (answer.status, answer.fault) == (429, "UpstreamRateLimited")
        assert "Retry-After" not in answer.headers
        assert "retry in" not in answer.message


async def test_acrs_firewall_at_the_token_server_is_told_with_the_address(held: str) -> None:
    async with asking("ACR", held) as (front, upstream):
        front.refused["/oauth2/token"] = (403, "DENIED", ACR_BLOCKED)
        with pytest.raises(faults.UpstreamForbidden, match="refuses the network address") as error:
            await upstream.fetch_manifest(manifest(front))
        assert "203.0.113.7" in error.value.said


async def test_the_ui_of_nexus_on_the_wrong_port_is_no_registry(held: str) -> None:
    async with asking("Nexus", held) as (front, upstream):
        front.page = NEXUS_PAGE
        with pytest.raises(faults.UpstreamProtocol) as error:
            await upstream.fetch_manifest(manifest(front))
        assert "Docker connector" in hint("Nexus", error.value)
        with pytest.raises(faults.UpstreamProtocol):  # and no DigestMismatch: nobody tampered with anything
            await upstream.fetch_manifest(manifest(front, reference=SMALL.digest))
        checked = await check_login(upstream.config)
        assert isinstance(checked.fault, faults.UpstreamProtocol)
        about = ["--type", "Nexus", "--host", front.host, "--plain-http", "--username", "puller", "--password-stdin"]
        ran = await pullgate("registry", "test", *about, stdin="CANARY")
        assert ran.code == 1
        assert "UpstreamProtocol" in ran.output


# --- limits and bans


async def test_docker_hubs_lock_out_after_failed_logins_is_not_the_pull_limit(held: str) -> None:
    async with asking("DockerHub", held) as (front, upstream):
        front.locked_out = True
        with pytest.raises(faults.UpstreamRateLimited) as locked:
            await upstream.fetch_manifest(manifest(front))
    async with asking("DockerHub", held) as (front, upstream):
        front.retry_after = ""
        with pytest.raises(faults.UpstreamRateLimited) as limited:
            await upstream.fetch_manifest(manifest(front))
    assert "logins" in locked.value.message
    assert "logins" not in limited.value.message
    assert "plan" in hint("DockerHub", limited.value)
    assert "plan" not in hint("DockerHub", locked.value)
    assert limited.value.retry_after is None


async def test_pulls_with_a_wrong_secret_do_not_get_the_address_banned_by_gitlab(held: str, tmp_path: Path) -> None:
    async with world_of("GitLab", held, tmp_path, token="gldt-CANARY-WRONG") as world:
        for _ in range(60):
            answer = await world.gate.get(world.path(), world.gate.key("acme"))
            assert (answer.status, answer.fault) == (403, "UpstreamUnauthorized")
        assert world.front.failed_logins <= 10


async def test_gitlabs_front_bans_an_address_that_goes_on(held: str) -> None:
    """The fake itself: without a memory of refused logins the test above would see the ban."""
    async with Front(FLAVOURS["GitLab"], held) as front:
        front.failed_logins = 30
        config = UpstreamConfig(
            "a/b", front.host, front.host, LOGIN, plain_http=True, allow_private=True, networks=LOOPBACK
        )
        async with Upstream(config) as upstream:
            with pytest.raises(faults.Fault):
                await upstream.fetch_manifest(manifest(front))
        assert front.failed_logins > 30


# --- HEAD, tags, referrers


async def test_ecr_publics_head_of_a_blob_is_decided_by_a_get(held: str) -> None:
    async with asking("ECRPublic", held) as (front, upstream):
        response = await upstream.send(blob(front, "HEAD"))
        response.release()
        assert response.status in {200, 206}


async def test_ecr_publics_405_of_a_page_of_tags_leaves_pulls_alone(held: str) -> None:
    async with asking("ECRPublic", held) as (front, upstream):
        for _ in range(7):
            with pytest.raises(faults.UpstreamForbidden):
                await upstream.send(UpstreamRequest("GET", REPOSITORY, "tags", query="last=1"))
        assert not upstream.is_down
        assert (await upstream.fetch_manifest(manifest(front))).digest == SMALL.digest


async def test_acrs_tags_are_asked_for_with_the_scope_that_is_challenged(held: str) -> None:
    async with asking("ACR", held) as (front, upstream):
        for _ in range(2):
            response = await upstream.send(UpstreamRequest("GET", REPOSITORY, "tags"))
            assert response.status == 200
            response.release()
            assert (await upstream.fetch_manifest(manifest(front))).digest == SMALL.digest
        granted = {grant for grants in front.granted.values() for grant in grants}
        assert granted == {f"{REPOSITORY}:metadata_read", f"{REPOSITORY}:pull"}


# --- realms


async def test_nvcrs_realm_with_a_scope_is_asked_for_each_repository_alone(held: str) -> None:
    async with asking_flavour(NVCR, held, LOGIN) as (front, upstream):
        for name in (REPOSITORY, SECRET, REPOSITORY):
            assert await upstream.fetch_manifest(manifest(front, name=name))
        assert {frozenset(grants) for grants in front.granted.values()} == {
            frozenset({f"{REPOSITORY}:pull"}),
            frozenset({f"{SECRET}:pull"}),
        }
        assert set(front.logins) == {("$oauthtoken", "CANARY-nvapi")}


@pytest.mark.parametrize("listed", [True, False])
async def test_tokens_of_another_host_want_that_host_in_realm_hosts(held: str, listed: bool) -> None:
    flavour: Flavour = ELSEWHERE
    async with Front(flavour, held) as front:
        front.accept(LOGIN.username, LOGIN.password)
        assert front.token_host.partition(":")[0] != front.host.partition(":")[0]
        config = UpstreamConfig(
            "my-app/up",
            front.host,
            front.host,
            LOGIN,
            plain_http=True,
            allow_private=True,
            realm_hosts=frozenset({front.token_host} if listed else ()),
            networks=LOOPBACK,
        )
        async with Upstream(config) as upstream:
            if listed:
                assert (await upstream.fetch_manifest(manifest(front))).digest == SMALL.digest
                return
            with pytest.raises(faults.RealmRefused) as error:
                await upstream.fetch_manifest(manifest(front))
        assert front.token_host.partition(":")[0] in error.value.message
        assert not front.logins


async def test_artifactorys_slow_first_byte_of_a_layer_is_waited_for(held: str) -> None:
    async with asking("Artifactory", held) as (front, upstream):
        front.first_byte_delay = 1.0
        response = await upstream.send(blob(front))
        assert await response.read(10_000) == CHILD.blobs[CHILD.config]
