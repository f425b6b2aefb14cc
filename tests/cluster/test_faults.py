"""Operators killed at each write, forgotten watches, others who write at once: it comes right again."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from pullgate.store.cluster.api import Api
from pullgate.store.cluster.reflector import Contact, reflect
from pullgate.store.cluster.store import ClusterStore
from pullgate.store.port import Key, Synced
from tests.support import gate
from tests.support.background import in_background
from tests.support.cluster.api_proxy import ApiProxy, Cut, When
from tests.support.cluster.kubectl import Kubectl
from tests.support.cluster.wait import until
from tests.support.kustomize import DEPLOY
from tests.support.upstreams.docker_registry import DockerRegistry

SYSTEM = "pullgate-system"
WRITES = 7
"""Writes for an app with one Registry and one License: three Secrets, two or more statuses, Events."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[DockerRegistry]:
    with in_background(DockerRegistry("basic")) as registry:
        yield registry


@pytest.fixture(scope="module")
def token(cluster: Kubectl) -> str:
    """A token of the operator's ServiceAccount, in a cluster without the operator and the proxy."""
    cluster.kubectl("apply", "-k", DEPLOY)
    cluster.kubectl("delete", "deployment", "-n", SYSTEM, "pullgate-operator", "pullgate-proxy")
    return cluster.kubectl("create", "token", "pullgate-operator", "-n", SYSTEM, "--duration=1h").strip()


@pytest.fixture
async def proxy(cluster: Kubectl) -> AsyncIterator[ApiProxy]:
    async with ApiProxy(cluster) as proxy:
        yield proxy


@contextlib.asynccontextmanager
async def operator(kubeconfig: Path, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The operator as a process. Its identity stays the same, so after a kill it takes over its own Lease at once."""
    command = ["-m", "pullgate_cli", "operator", "--external-url", "https://images.test", "--admin", "127.0.0.1:0"]
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            "--kubeconfig",
            str(kubeconfig),
            stdout=out,
            stderr=out,
            env={"POD_NAME": "killed", "PATH": "/usr/bin:/bin"},
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def documents(app: str, upstream: DockerRegistry) -> list[dict[str, Any]]:
    return [
        gate.secret("robot", upstream.username, upstream.password, namespace=app),
        gate.registry("upstream", upstream.host, secret="robot", namespace=app),
        gate.license_("acme", {"repositories": ["my-org/**"]}, namespace=app),
    ]


async def wait_ready(cluster: Kubectl, app: str) -> None:
    for what in ("registry/upstream", "license/acme"):
        await asyncio.to_thread(cluster.kubectl, "wait", what, "-n", app, "--for=condition=Ready", "--timeout=45s")


def keys_of(cluster: Kubectl, app: str) -> tuple[str, str, str]:
    """The key in the license Secret, that in the pull Secret, and the digest of the status."""
    status = cluster.get("license", "acme", app)["status"]
    secrets = {
        name: base64.b64decode(next(iter(cluster.get("secret", f"acme-{name}", app)["data"].values()))).decode()
        for name in ("license", "pull")
    }
    config = json.loads(secrets["pull"])["auths"]
    pulled = str(next(iter(config.values()))["password"])
    held = pulled if pulled in secrets["license"] else "another"
    current = [key["digest"] for key in status["keys"] if not key.get("replacedAt")]
    assert len(current) == 1
    return held, pulled, current[0]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", range(1, WRITES + 1))
async def test_an_operator_killed_at_a_write_leaves_what_the_next_one_finishes(
    cluster: Kubectl,
    app: str,
    upstream: DockerRegistry,
    token: str,
    proxy: ApiProxy,
    tmp_path: Path,
    write: int,
    when: When,
) -> None:
    cluster.apply(*documents(app, upstream))
    proxy.script.cut = Cut(write, when)
    cut, straight = (
        proxy.kubeconfig(tmp_path / "cut", token),
        cluster.kubeconfig_of(SYSTEM, "pullgate-operator", tmp_path),
    )
    async with operator(cut, tmp_path / "log") as process:
        waiting = [asyncio.create_task(proxy.script.was_cut.wait()), asyncio.create_task(wait_ready(cluster, app))]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        process.kill()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert proxy.script.was_cut.is_set(), f"there were only {proxy.script.writes}"
    async with operator(straight, tmp_path / "log"):
        await wait_ready(cluster, app)
        held, pulled, digest = await asyncio.to_thread(keys_of, cluster, app)
        assert held == pulled
        assert digest == "sha256:" + hashlib.sha256(pulled.encode()).hexdigest()
        status = cluster.get("license", "acme", app)["status"]
        assert len(status["keys"]) == 1, "no key was issued twice"
        assert any(f"registry.{app}." in name for name in names_of(cluster, SYSTEM))


def names_of(cluster: Kubectl, namespace: str) -> list[str]:
    return cluster.kubectl("get", "secrets", "-n", namespace, "-o", "name").split()


@pytest.mark.parametrize("how", ["gone_watches", "gone_events"])
async def test_a_forgotten_watch_lists_again_and_misses_no_change(
    cluster: Kubectl, app: str, token: str, proxy: ApiProxy, tmp_path: Path, how: str
) -> None:
    for name in ("stays", "goes"):
        cluster.apply(gate.license_(name, namespace=app))
    async with await Api.load(proxy.kubeconfig(tmp_path / "config", token)) as api:
        store = ClusterStore(api, {"License": app}, "test", lean=how == "gone_events")
        contact = Contact()
        seen: dict[Key, bool] = {}
        watching = asyncio.create_task(follow(store, seen))
        await asyncio.sleep(0)
        await store.relist("License")
        await until_async(lambda: len(seen) == 2)
        cluster.kubectl("delete", "license", "goes", "-n", app)
        cluster.apply(gate.license_("stays", namespace=app, suspended={}), gate.license_("comes", namespace=app))
        setattr(proxy.script, how, 2)
        following = asyncio.create_task(reflect(api, store, "License", contact))
        try:
            await until_async(lambda: {k.name for k in store._documents["License"]} == {"stays", "comes"})
            await until_async(lambda: getattr(proxy.script, how) == 0)
            cluster.kubectl("delete", "license", "comes", "-n", app)
            await until_async(lambda: {k.name for k in seen} == {"stays"})
        finally:
            following.cancel()
            watching.cancel()
            await asyncio.gather(following, watching, return_exceptions=True)
        assert seen[Key("License", app, "stays")] is True
        assert set(seen) == {Key("License", app, "stays")}


async def follow(store: ClusterStore, seen: dict[Key, bool]) -> None:
    """Watch Licenses, and keep in `seen` if each one is suspended."""
    async for change in store.watch(frozenset({"License"})):
        if isinstance(change, Synced):
            continue
        if change.document is None:
            seen.pop(change.key, None)
        else:
            seen[change.key] = "suspended" in change.document["spec"]


async def test_an_audit_finds_what_no_watch_told_and_reads_no_more_than_it_must(
    cluster: Kubectl, app: str, token: str, proxy: ApiProxy, tmp_path: Path
) -> None:
    for name in ("stays", "goes"):
        cluster.apply(gate.license_(name, namespace=app))
    async with await Api.load(proxy.kubeconfig(tmp_path / "config", token)) as api:
        store = ClusterStore(api, {"License": app, "ImageTest": app}, "test")
        for kind in ("License", "ImageTest"):
            await store.relist(kind)
            assert await store.audit(kind) == 0
        cluster.kubectl("delete", "license", "goes", "-n", app)
        cluster.apply(gate.license_("stays", namespace=app, suspended={}), gate.license_("comes", namespace=app))
        assert await store.audit("License") == 3
        assert {key.name for key in store._documents["License"]} == {"stays", "comes"}
        assert await store.audit("License") == 0


async def until_async(check: Any) -> None:
    async with asyncio.timeout(30):
        while not check():
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("how", ["gone_watches", "gone_events"])
async def test_the_operator_goes_on_after_its_watches_were_forgotten(
    cluster: Kubectl, app: str, upstream: DockerRegistry, token: str, proxy: ApiProxy, tmp_path: Path, how: str
) -> None:
    async with operator(proxy.kubeconfig(tmp_path / "config", token), tmp_path / "log"):
        setattr(proxy.script, how, 6)
        cluster.apply(*documents(app, upstream))
        await wait_ready(cluster, app)
        await until_async(lambda: getattr(proxy.script, how) == 0)
        cluster.apply(gate.license_("acme", {"repositories": ["my-org/**"]}, namespace=app, suspended={}))
        await asyncio.to_thread(
            cluster.kubectl, "wait", "license/acme", "-n", app, "--for=condition=Valid=False", "--timeout=45s"
        )


async def test_others_who_write_at_the_same_time_cost_new_tries_and_nothing_else(
    cluster: Kubectl, app: str, upstream: DockerRegistry, token: str, proxy: ApiProxy, tmp_path: Path
) -> None:
    async with operator(proxy.kubeconfig(tmp_path / "config", token), tmp_path / "log"):
        proxy.script.conflicts = 5
        cluster.apply(*documents(app, upstream))

        def write() -> None:
            for number in range(15):
                cluster.kubectl("annotate", "license", "acme", "-n", app, f"ours.test/{number}=x")
                note = json.dumps({"metadata": {"labels": {"ours.test/n": str(number)}}})
                cluster.kubectl("patch", "license", "acme", "-n", app, "--type=merge", "-p", note)

        await asyncio.to_thread(write)
        await wait_ready(cluster, app)
        cluster.kubectl("label", "secret", "acme-pull", "-n", app, "ours.test/label=stays")
        cluster.apply(gate.license_("acme", {"repositories": ["other/**"]}, namespace=app))
        held, pulled, _ = keys_of(cluster, app)
        assert held == pulled
        await until_async(lambda: "other/**" in license_file(cluster, app))
        assert cluster.get("secret", "acme-pull", app)["metadata"]["labels"]["ours.test/label"] == "stays"
        found = await asyncio.to_thread(until, lambda: settled(proxy), 60.0)
        assert found


def license_file(cluster: Kubectl, app: str) -> str:
    data = cluster.get("secret", "acme-license", app)["data"]
    return base64.b64decode(next(iter(data.values()))).decode()


def settled(proxy: ApiProxy) -> bool:
    """True if nothing was written for 4 seconds."""
    import time

    before = len(proxy.script.writes)
    time.sleep(4)
    return len(proxy.script.writes) == before
