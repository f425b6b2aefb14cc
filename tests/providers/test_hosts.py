"""Several Registries at one host: each by its own name, with its own login and its own tokens."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pullgate.resources.conditions import read_condition
from pullgate.store.port import Key
from tests.providers.stage import TIMEOUTS, opaque
from tests.support.clients.daemonless import Crane, Skopeo
from tests.support.fakes.flavours import FLAVOURS
from tests.support.fakes.front import Front
from tests.support.gate import APP, Gate, license_, registry, running
from tests.support.images import image
from tests.support.proven import prove_kind
from tests.support.upstreams import DockerRegistry

pytestmark = pytest.mark.asyncio

PROJECTS = ("first", "second")
IMAGES = {project: image(f"of {project}") for project in PROJECTS}


def robot(project: str) -> tuple[str, str]:
    """User name and password of the project's robot account."""
    return f"robot${project}+puller", f"SECRET-of-{project}"


def documents(front: Front) -> list[dict[str, Any]]:
    """A robot and a Registry for each project; the first is the older one."""
    found = []
    for project in PROJECTS:
        user, password = robot(project)
        found.append(opaque(project, {"username": user, "password": password}))
        spec: dict[str, Any] = {"repositories": [f"{project}/**"], "network": {"allowPrivate": True}}
        found.append(registry(project, front.host, secret=project, type="Harbor", **spec))
    return found


def only_its_own_project(front: Front) -> None:
    """Harbor's rule for robots of projects."""
    for project in PROJECTS:
        front.accept(*robot(project))
    front.may = lambda user, repository: user == robot(repository.partition("/")[0])[0]


def path(name: str, project: str) -> str:
    """A manifest of `project` by Registry `name`."""
    return f"/v2/proxy/{APP}/{name}/{project}/api/manifests/1"


async def reason(gate: Gate, name: str) -> str:
    """Why a Registry is (not) ready."""
    document = await gate.store.get(Key("Registry", APP, name)) or {}
    return str(read_condition(document, "Ready")["reason"])


async def until_reason(gate: Gate, name: str, wanted: str) -> None:
    """Wait until a Registry's Ready has this reason."""
    async with asyncio.timeout(10):
        while await reason(gate, name) != wanted:
            await asyncio.sleep(0.05)


@pytest.fixture
async def harbor() -> Any:
    async with DockerRegistry("none") as held:
        for project, content in IMAGES.items():
            await held.push(f"{project}/api", "1", content)
        async with Front(FLAVOURS["Harbor"], held.url) as front:
            only_its_own_project(front)
            yield front


async def test_two_robots_of_one_host_pull_each_its_own_project(harbor: Front, tmp_path: Path) -> None:
    async with running(tmp_path / "resources", *documents(harbor), license_("acme"), **TIMEOUTS) as gate:
        for project in PROJECTS:
            for client in (Crane(), Skopeo()):
                reference = f"{gate.host}/proxy/{APP}/{project}/{project}/api:1"
                pulled = await client.pull(reference, "acme", gate.key("acme"), tmp_path / f"{client.name}-{project}")
                assert pulled.exit_code == 0, pulled.output
                assert IMAGES[project].digest in pulled.contents
        assert harbor.reads == {(robot(project)[0], f"{project}/api") for project in PROJECTS}
    prove_kind("Harbor", "two robots of two projects on one host")


async def test_a_robot_is_never_used_for_the_project_of_another(harbor: Front, tmp_path: Path) -> None:
    async with running(tmp_path / "resources", *documents(harbor), license_("acme"), **TIMEOUTS) as gate:
        key = gate.key("acme")
        for project in PROJECTS:  # so that tokens of both are at hand
            assert (await gate.get(path(project, project), key)).status == 200
        crossed = await gate.get(path("first", "second"), key)
        assert (crossed.status, crossed.fault) == (403, "NotEntitled")
        assert harbor.reads == {(robot(project)[0], f"{project}/api") for project in PROJECTS}


async def test_without_repositories_of_its_own_the_provider_refuses_the_wrong_robot(
    harbor: Front, tmp_path: Path
) -> None:
    found = documents(harbor)
    for document in found:
        document.get("spec", {}).pop("repositories", None)
    async with running(tmp_path / "resources", *found, license_("acme"), **TIMEOUTS) as gate:
        key = gate.key("acme")
        for project in PROJECTS:
            assert (await gate.get(path(project, project), key)).status == 200
        crossed = await gate.get(path("first", "second"), key)
        assert (crossed.status, crossed.fault) == (403, "UpstreamForbidden")
        asked_by = {user for user, repository in harbor.reads if repository == "second/api"}
        assert asked_by == {robot("first")[0], robot("second")[0]}


async def test_two_robots_of_one_host_are_both_ready_and_a_pull_by_the_host_finds_its_own(
    harbor: Front, tmp_path: Path
) -> None:
    async with running(tmp_path / "resources", *documents(harbor), license_("acme"), **TIMEOUTS) as gate:
        key = gate.key("acme")
        for project in PROJECTS:
            by_host = await gate.get(f"/v2/{project}/api/manifests/1?ns={harbor.host}", key)
            assert by_host.status == 200, by_host.message
            for client in (Crane(), Skopeo()):
                reference = f"{gate.host}/proxy/{APP}/{project}/{project}/api:1"
                pulled = await client.pull(reference, "acme", key, tmp_path / f"{client.name}-{project}")
                assert pulled.exit_code == 0, pulled.output
        assert harbor.reads == {(robot(project)[0], f"{project}/api") for project in PROJECTS}
        nobodys = await gate.get(f"/v2/third/api/manifests/1?ns={harbor.host}", key)
        assert (nobodys.status, nobodys.fault) == (403, "NotEntitled")
        for project in PROJECTS:
            await until_reason(gate, project, "Ready")


async def test_a_registry_without_patterns_takes_what_no_other_registry_of_its_host_names(
    harbor: Front, tmp_path: Path
) -> None:
    found = documents(harbor)
    found[1]["spec"].pop("repositories")
    async with running(tmp_path / "resources", *found, license_("acme"), **TIMEOUTS) as gate:
        key = gate.key("acme")
        for project in PROJECTS:
            answer = await gate.get(f"/v2/{project}/api/manifests/1?ns={harbor.host}", key)
            assert answer.status == 200, answer.message
        assert harbor.reads == {(robot(project)[0], f"{project}/api") for project in PROJECTS}


async def test_of_equal_patterns_the_younger_says_host_conflict_and_serves_by_its_name(
    harbor: Front, tmp_path: Path
) -> None:
    async with Gate(tmp_path / "resources", **TIMEOUTS) as gate:
        found = documents(harbor)
        for document in found:
            document.get("spec", {}).pop("repositories", None)
        await gate.apply(*found[:2])
        await gate.apply(*found[2:], license_("acme"))
        key = gate.key("acme")
        younger = {await reason(gate, name): name for name in PROJECTS}["HostConflict"]
        assert (await gate.get(path(younger, younger), key)).status == 200
        other = next(name for name in PROJECTS if name != younger)
        by_host = await gate.get(f"/v2/{other}/api/manifests/1?ns={harbor.host}", key)
        assert by_host.status == 200


async def test_a_revoked_robot_ends_its_own_registry_alone(harbor: Front, tmp_path: Path) -> None:
    async with running(tmp_path / "resources", *documents(harbor), license_("acme"), **TIMEOUTS) as gate:
        key = gate.key("acme")
        for project in PROJECTS:
            assert (await gate.get(path(project, project), key)).status == 200
        harbor.accepted.discard(robot("first"))
        harbor.tokens = {t: serves and harbor.owners[t] != robot("first")[0] for t, serves in harbor.tokens.items()}
        refused = await gate.get(path("first", "first"), key)
        assert (refused.status, refused.fault) == (403, "UpstreamUnauthorized")
        assert (await gate.get(path("second", "second"), key)).status == 200
