"""Every registry type through the proxy, before a fake of its provider: pulled by real clients, and each fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from pullgate.resources.conditions import read_condition
from pullgate.store.port import Key
from tests.providers.stage import LARGE, SMALL, World, world_of
from tests.support.cli import Ran, pullgate
from tests.support.clients.daemonless import Crane, Skopeo
from tests.support.fakes.flavours import FLAVOURS, LOGINS
from tests.support.proven import prove

TYPES = sorted(FLAVOURS)
BEARER = [name for name in TYPES if FLAVOURS[name].scheme == "bearer"]
FIXES = {
    "DockerHub": "new access token at Docker Hub",
    "ECR": "access key or role",
    "ECRPublic": "access key or role",
    "GAR": "new key of the service account",
    "GCR": "new key of the service account",
    "GHCR": "new classic token with read:packages",
    "Quay": "token of the robot account my-org+puller",
    "ACR": "secret of the service principal",
    "Harbor": "robot account robot$my-org+puller",
    "GitLab": "deploy token with read_registry",
    "Artifactory": "new access token for puller",
    "Nexus": "Docker Bearer Token realm",
    "DigitalOcean": "new API token with registry read",
    "Generic": "user name and password in the Secret",
}
"""Words of `registry test` if the login is refused."""
DENIED = {
    "DockerHub": "Read-only access to {repository} at Docker Hub",
    "ECR": "ecr:BatchGetImage and ecr:GetDownloadUrlForLayer (tags: ecr:ListImages) on {repository}",
    "ECRPublic": "check the alias of the registry in {repository}",
    "GAR": "Artifact Registry Reader (downloadArtifacts) on the repository of {repository}",
    "GCR": "Artifact Registry Reader (downloadArtifacts) on the repository of {repository}",
    "GHCR": "SSO authorization",
    "Quay": "give the robot account my-org+puller read access to {repository}",
    "ACR": "Container Registry Repository Reader",
    "Harbor": "Repository: Pull in the project of {repository}",
    "GitLab": "read_registry of the project or group of {repository}",
    "Artifactory": "Read on {repository} to the permission target of puller",
    "Nexus": "read and browse on the Docker repository of {repository}",
    "DigitalOcean": "registry: read for {repository}",
    "Generic": "read access to {repository}",
}
"""Words of `registry test` if the repository is denied."""
LIMITED = {"DockerHub": "the pulls of the Docker Hub plan are used up"}
"""Words of `registry test` if the provider limits pulls; other providers add nothing to the common text."""

pytestmark = pytest.mark.asyncio


async def crane(world: World, directory: Path, name: str = "small") -> tuple[int, str]:
    """Exit code and output."""
    pulled = await Crane().pull(world.reference(name), "acme", world.gate.key("acme"), directory)
    assert "SECRET" not in pulled.output
    return pulled.exit_code, " ".join(pulled.output.split())


async def registry_test(world: World, password: str, *more: str) -> Ran:
    """`pullgate registry test` with the login on the command line."""
    about = ["--type", world.type, "--host", world.front.host, "--plain-http", "--username", world.username]
    ran = await pullgate("registry", "test", *about, "--password-stdin", *more, stdin=password)
    assert password not in ran.output
    return ran


def told_to_the_vendor(world: World) -> str:
    """The message of the Registry's condition Ready after its check."""
    document = world.gate.store._documents.get(Key("Registry", "my-app", "up")) or {}
    return str(read_condition(document, "Ready").get("message", ""))


@pytest.mark.parametrize("type_", TYPES)
async def test_two_real_clients_pull_whole_images(type_: str, held: str, tmp_path: Path) -> None:
    async with world_of(type_, held, tmp_path) as world:
        for client in (Crane(), Skopeo()):
            pulled = await client.pull(world.reference(), "acme", world.gate.key("acme"), tmp_path / client.name)
            assert pulled.exit_code == 0, pulled.output
            everything = {m.digest for m in SMALL.walk()} | {b for m in SMALL.walk() for b in m.blobs}
            arrived = everything & set(pulled.contents)
            assert arrived >= (everything if client.name == "skopeo" else {SMALL.children[0].digest})
    prove(type_, "key")
    prove(type_, "two clients")


@pytest.mark.parametrize("type_", TYPES)
async def test_a_wrong_secret_is_the_vendors_move_and_the_fix_is_the_providers(
    type_: str, held: str, tmp_path: Path
) -> None:
    wrong = {k: v.replace("SECRET", "WRONG") for k, v in LOGINS[type_].items()}
    async with world_of(type_, held, tmp_path, **wrong) as world:
        code, text = await crane(world, tmp_path / "pulled")
        assert code != 0
        assert "rejected the vendor's credentials" in text
        assert world.gate.records()[-1]["reason"] == "UpstreamUnauthorized"
        ran = await registry_test(world, world.password.replace("SECRET", "WRONG"))
        assert ran.code == 1
        assert "UpstreamUnauthorized" in ran.output
        assert FIXES[type_] in " ".join(ran.output.split())
        await world.gate.until(lambda: "renew the credentials in Secret vendor" in told_to_the_vendor(world))
        assert FIXES[type_] in told_to_the_vendor(world) or type_ == "Generic"
    prove(type_, "wrong secret")


@pytest.mark.parametrize("type_", TYPES)
async def test_a_secret_that_is_revoked_while_it_serves_is_named(type_: str, held: str, tmp_path: Path) -> None:
    async with world_of(type_, held, tmp_path) as world:
        assert (await crane(world, tmp_path / "before"))[0] == 0
        world.front.revoke()
        code, text = await crane(world, tmp_path / "after", "large")
        assert code != 0
        assert "rejected the vendor's credentials" in text
        ran = await registry_test(world, world.password)
        assert "UpstreamUnauthorized" in ran.output
        assert FIXES[type_] in " ".join(ran.output.split())
    prove(type_, "revoked")


@pytest.mark.parametrize("type_", BEARER)
async def test_a_token_that_ends_in_the_middle_of_a_blob_costs_nothing(type_: str, held: str, tmp_path: Path) -> None:
    async with world_of(type_, held, tmp_path) as world:
        world.front.cut_after, world.front.expire_at_the_cut = 400_000, True
        pulled = await Skopeo().pull(world.reference("large"), "acme", world.gate.key("acme"), tmp_path / "pulled")
        assert pulled.exit_code == 0, pulled.output
        assert {LARGE.digest, *LARGE.blobs} <= set(pulled.contents)
        assert not all(world.front.tokens.values()), "nothing was cut"
    prove(type_, "ends in mid-blob")


@pytest.mark.parametrize("type_", TYPES)
async def test_a_rate_limit_is_told_with_its_time(type_: str, held: str, tmp_path: Path) -> None:
    async with world_of(type_, held, tmp_path) as world:
        world.front.retry_after = "42"
        answer = await world.gate.get(world.path(), world.gate.key("acme"))
        assert (answer.status, answer.fault) == (429, "UpstreamRateLimited")
        assert 30 <= int(answer.headers["Retry-After"]) <= 42
        assert "limits the vendor's account" in answer.message
        ran = await registry_test(world, world.password, "--image", f"{world.front.flavour.prefix}my-org/small:1")
        assert "UpstreamRateLimited" in ran.output
        assert LIMITED.get(type_, "wait, or use an account with a higher limit") in " ".join(ran.output.split())
    prove(type_, "rate limit")


@pytest.mark.parametrize("type_", TYPES)
async def test_a_repository_that_may_not_be_read_is_named(type_: str, held: str, tmp_path: Path) -> None:
    async with world_of(type_, held, tmp_path) as world:
        repository = f"{world.front.flavour.prefix}my-org/secret"
        world.front.denied.add(repository)
        code, text = await crane(world, tmp_path / "pulled", "secret")
        assert code != 0
        assert f"may not read {repository}" in text
        assert world.gate.records()[-1]["reason"] == "UpstreamForbidden"
        ran = await registry_test(world, world.password, "--image", f"{repository}:1")
        assert "UpstreamForbidden" in ran.output
        assert DENIED[type_].format(repository=repository) in " ".join(ran.output.split())
    prove(type_, "denied")


async def test_docker_hubs_rate_limit_is_in_the_status(held: str, tmp_path: Path) -> None:
    async with world_of("DockerHub", held, tmp_path) as world:
        await world.gate.until(lambda: bool(_last_check(world)))
        assert _last_check(world) == {"limit": 100, "remaining": 76, "window": "6h"}
        assert ("HEAD", "/v2/ratelimitpreview/test/manifests/latest") in world.front.asked


def _last_check(world: World) -> object:
    document = world.gate.store._documents.get(Key("Registry", "my-app", "up")) or {}
    return ((document.get("status") or {}).get("lastCheck") or {}).get("rateLimit")
