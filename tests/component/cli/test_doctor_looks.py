"""`doctor` passes only what it looked at: whatever it could not see ends with exit code 2, and says so."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.component.test_standalone import standalone
from tests.support.cli import Ran, pullgate
from tests.support.folder import Folder, license_text, registry_text, secret_text
from tests.support.gate import APP, license_, registry
from tests.support.ports import free_port
from tests.support.upstreams import DockerRegistry

NOW = "2199-01-01T00:00:00Z"


def by_about(ran: Ran) -> dict[str, tuple[str, str]]:
    return {f["about"]: (f["state"], f["text"]) for f in ran.data["findings"]}


@pytest.fixture
def two_apps(tmp_path: Path) -> Path:
    for app in ("one", "two"):
        document = license_("acme", namespace=app)
        (tmp_path / f"{app}.yaml").write_text(yaml.safe_dump(document))
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ("doctor",),
        ("license", "list"),
        ("registry", "list"),
        ("license", "create", "new", "--repository", "**"),
        ("gate", "quay.io/a/b:1"),
    ],
    ids=" ".join,
)
async def test_of_two_apps_in_a_folder_none_is_guessed(two_apps: Path, command: tuple[str, ...]) -> None:
    ran = await pullgate(*command, "--folder", two_apps)
    assert ran.code == 2
    assert "the folder holds the apps one, two; name one with -n" in ran.output
    assert not list(two_apps.glob("default.*"))


async def test_a_document_of_another_kind_without_a_namespace_does_not_hide_the_app(two_apps: Path) -> None:
    (two_apps / "two.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")
    assert "acme" in (await pullgate("license", "list", "--folder", two_apps)).output


async def test_an_app_that_is_not_there_is_nothing_to_look_at(two_apps: Path) -> None:
    ran = await pullgate("doctor", "--folder", two_apps, "-n", "nosuch")
    assert ran.code == 2
    assert "there is no Registry, License or ImageTest in nosuch; there are some in one, two" in ran.output
    assert "no problem; 1 could not be looked at" in ran.output


@pytest.mark.parametrize("kind", ["license", "registry"])
async def test_an_empty_list_says_so(two_apps: Path, kind: str) -> None:
    ran = await pullgate(kind, "list", "--folder", two_apps, "-n", "nosuch")
    assert ran.code == 0
    assert f"there is no {kind.capitalize()} in nosuch" in ran.output


async def test_a_gate_and_a_list_of_no_image_could_not_run(tmp_path: Path) -> None:
    (tmp_path / "none.yaml").write_text("kind: ConfigMap\n")
    for arguments in (("gate", "--local"), ("gate", "--local", "-f", tmp_path / "none.yaml"), ("image", "list")):
        ran = await pullgate(*arguments)
        assert (ran.code, "passed" in ran.output) == (2, False), ran.output
        assert "there is no image" in ran.output


async def test_of_a_folder_that_is_served_it_asks_the_proxy_and_its_admin_port(
    tmp_path: Path, docker_registry_basic: DockerRegistry
) -> None:
    folder = Folder(tmp_path / "folder")
    folder.write("registry.yaml", registry_text(docker_registry_basic.host))
    folder.write("robot.yaml", secret_text(docker_registry_basic.username, docker_registry_basic.password))
    folder.write("licenses.yaml", license_text(expiresAt=NOW))
    async with standalone(folder, "--blob-cache", str(tmp_path / "cache")) as running:
        ran = await pullgate("doctor", "--folder", folder.path, "-o", "json")
        assert ran.code == 0, ran.output
        found = by_about(ran)
        assert f"proxy http://localhost:{running.port}" in found
        admin = next(text for about, (_, text) in found.items() if about.startswith("proxy 127.0.0.1:"))
        assert "disk: 0 blobs" in admin
        assert "checked" in found["Registry"][1]
    ran = await pullgate("doctor", "--folder", folder.path, "-o", "json")
    assert not any(about.startswith("proxy") for about in by_about(ran))
    assert by_about(ran)["folder"][0] == "warning"


# --- a cluster ---------------------------------------------------------------------------------------------------


def refusal(status: int, message: str) -> web.Response:
    """As kube-apiserver refuses: a metav1.Status."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": message}
    return web.json_response(body, status=status)


def healthy(role: str, **changes: Any) -> dict[str, Any]:
    watch = {"alive": True, "ageSeconds": 3.0, "problem": ""}
    if role == "operator":
        return {"ready": True, "why": "", "leads": True, "watch": watch, **changes}
    disk, peers = {"usable": True, "bytes": 5 * 2**30, "files": 7}, {"known": 3, "down": 0}
    known = {"Registry": 1, "License": 1}
    return {
        "ready": True, "why": "", "watch": watch, "known": known,
        "disk": disk, "objectStore": {"usable": True}, "peers": peers, **changes,
    }  # fmt: skip


class Api:
    """An API server with a healthy Pullgate; `answers` stand in for single paths."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str] | dict[str, Any]] = {}
        for role in ("operator", "proxy"):
            self.answers[f"/pods/pullgate-{role}-1:8081/proxy/status"] = healthy(role)

    async def answer(self, request: web.Request) -> web.Response:
        for end, body in self.answers.items():
            if request.path.endswith(end):
                return refusal(*body) if isinstance(body, tuple) else web.json_response(body)
        path = request.path
        if path.endswith("/pods"):
            role = request.query["labelSelector"].rpartition("pullgate-")[2]
            ports = [{"name": "admin", "containerPort": 8081}]
            pod = {
                "metadata": {"name": f"pullgate-{role}-1"},
                "spec": {"containers": [{"ports": ports}]},
                "status": {"phase": "Running"},
            }
            return web.json_response({"metadata": {}, "items": [pod]})
        if "/deployments/" in path:
            return web.json_response({"spec": {"replicas": 1}, "status": {"readyReplicas": 1}})
        if "/leases/" in path:
            import datetime

            renewed = datetime.datetime.now(datetime.UTC).isoformat()
            return web.json_response({"spec": {"holderIdentity": "pullgate-operator-1", "renewTime": renewed}})
        if "/customresourcedefinitions/" in path:
            return web.json_response({"metadata": {}})
        if path.endswith(("/licenses", "/registries")):
            make = license_("acme") if path.endswith("/licenses") else registry("upstream", "quay.io")
            ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": ""}
            document = {**make, "status": {"conditions": [ready, {**ready, "type": "Valid", "reason": "Valid"}]}}
            return web.json_response({"metadata": {}, "items": [document]})
        if path.endswith("/imagetests"):
            return web.json_response({"metadata": {}, "items": []})
        return refusal(404, "not found")


@pytest.fixture
def api() -> Api:
    return Api()


@contextlib.asynccontextmanager
async def doctor_on(api: Api, directory: Path) -> AsyncIterator[Any]:
    app = web.Application()
    app.router.add_get("/{path:.*}", api.answer)
    async with TestServer(app) as server:
        named = {"name": "a", "context": {"cluster": "a", "user": "a", "namespace": APP}}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "a", "cluster": {"server": str(server.make_url(""))}}],
            "users": [{"name": "a", "user": {"token": "CANARY-kubeconfig"}}],
            "contexts": [named],
            "current-context": "a",
        }
        path = directory / "kubeconfig"
        path.write_text(yaml.safe_dump(config))

        async def run(*options: str) -> Ran:
            return await pullgate("doctor", "--kubeconfig", path, "-o", "json", *options)

        yield run


async def test_a_healthy_cluster_shows_watch_disk_peers_and_store_of_each_pod(api: Api, tmp_path: Path) -> None:
    async with doctor_on(api, tmp_path) as doctor:
        ran = await doctor()
    assert ran.code == 0, ran.output
    found = by_about(ran)
    assert found["operator pullgate-operator-1"] == ("ok", "leads; watch: alive, last event 3 s ago")
    words = "watch: alive, last event 3 s ago; disk: 7 blobs, 5.0 GiB; object store: works; peers: 3 replicas are known"
    assert found["proxy pullgate-proxy-1"] == ("ok", words)


@pytest.mark.parametrize(
    ("role", "changes", "about", "words"),
    [
        (
            "operator",
            {"watch": {"alive": False, "ageSeconds": 700, "problem": ""}},
            ", watch",
            "is dead, last event 12",
        ),
        ("proxy", {"watch": {"alive": False, "ageSeconds": None, "problem": "401"}}, ", watch", "no event yet: 401"),
        ("proxy", {"disk": {"usable": False, "bytes": 0, "files": 0}}, ", disk", "fails"),
        ("proxy", {"objectStore": {"usable": False}}, ", object store", "fails"),
        ("proxy", {"ready": False, "why": "draining"}, "", "is not ready: draining"),
    ],
)
async def test_a_part_that_fails_is_a_problem(
    api: Api, tmp_path: Path, role: str, changes: dict[str, Any], about: str, words: str
) -> None:
    api.answers[f"/pods/pullgate-{role}-1:8081/proxy/status"] = healthy(role, **changes)
    async with doctor_on(api, tmp_path) as doctor:
        ran = await doctor()
    problems = [(f["about"], f["text"]) for f in ran.data["findings"] if f["state"] == "problem"]
    assert ran.code == 1
    assert [name for name, _ in problems] == [f"{role} pullgate-{role}-1{about}"]
    assert words in problems[0][1]


REFUSED: dict[str, tuple[int, str] | dict[str, Any]] = {
    # kube-apiserver's authorizer, for a user without pods/proxy
    "no right": (403, 'pods "pullgate-proxy-1" is forbidden: User "dev" cannot get resource "pods/proxy"'),
    # apimachinery's proxy handler, where a NetworkPolicy drops the connection
    "a policy": (503, "error trying to reach service: dial tcp 10.42.0.7:8081: i/o timeout"),
    "an older version": (404, "not found"),
    "another document": {"kind": "Pod"},
}


@pytest.mark.parametrize("why", REFUSED)
async def test_a_pod_that_cannot_be_asked_ends_with_2(api: Api, tmp_path: Path, why: str) -> None:
    api.answers["/pods/pullgate-proxy-1:8081/proxy/status"] = REFUSED[why]
    async with doctor_on(api, tmp_path) as doctor:
        ran = await doctor()
    assert ran.code == 2, ran.output
    assert by_about(ran)["proxy pullgate-proxy-1"][0] == "unknown"
    assert "--proxy-admin" in ran.output


async def test_nothing_that_can_be_read_is_no_pass(api: Api, tmp_path: Path) -> None:
    api.answers = {"": (403, 'User "dev" cannot list resource')}
    async with doctor_on(api, tmp_path) as doctor:
        ran = await doctor()
    assert ran.code == 2
    assert {f["state"] for f in ran.data["findings"]} == {"unknown"}


async def test_an_admin_port_that_is_named_is_asked_in_place_of_the_pods(api: Api, tmp_path: Path) -> None:
    api.answers["/pods/pullgate-proxy-1:8081/proxy/status"] = REFUSED["a policy"]
    app = web.Application()

    async def status(_: web.Request) -> web.Response:
        return web.json_response(healthy("proxy"))

    app.router.add_get("/status", status)
    async with TestServer(app) as server, doctor_on(api, tmp_path) as doctor:
        assert (await doctor("--proxy-admin", f"127.0.0.1:{server.port}")).code == 0
        ran = await doctor("--proxy-admin", f"127.0.0.1:{free_port()}")
    assert ran.code == 2, ran.output


@pytest.mark.parametrize(
    ("date", "state"),
    [("yesterday", "unknown"), ("", "unknown"), ("Mon, 99 Foo 2026 99:99:99 GMT", "unknown"),
     ("Wed, 21 Oct 2015 07:28:00 -0000", "warning")],
)  # fmt: skip
async def test_a_date_header_of_any_kind_is_no_traceback(two_apps: Path, date: str, state: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        challenge = f'Bearer realm="http://{request.host}/token",service="x"'
        return web.Response(status=401, headers={"Date": date, "WWW-Authenticate": challenge})

    app = web.Application()
    app.router.add_get("/v2/", answer)
    async with TestServer(app) as server:
        url = f"http://127.0.0.1:{server.port}"
        ran = await pullgate("doctor", "--folder", two_apps, "-n", "one", "--proxy", url, "-o", "json")
    assert by_about(ran)["clock"][0] == state, ran.output
