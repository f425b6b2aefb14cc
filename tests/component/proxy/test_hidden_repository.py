"""A private repository of an upstream with anonymous access: strangers hear 404, and the vendor's login is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pullgate.store.port import Key
from tests.support.folder import eventually
from tests.support.gate import APP, Document, Gate, basic, license_, registry, running, secret
from tests.support.images import image
from tests.support.upstreams import ScriptedRegistry
from tests.support.upstreams.scripted_registry import error
from tests.support.upstreams.wire import Reply, Request

USER, PASSWORD = "robot", "CANARY-hidden"
PRIVATE, PUBLIC = image("hidden"), image("shown")
BASE = f"/v2/proxy/{APP}/upstream"


def hide(request: Request, right: Reply) -> Reply:
    """Answer 404 to a missing or wrong login at a private repository, as GitLab and GitHub do."""
    known = request.headers.get("Authorization") == basic(USER, PASSWORD)
    return right if known or request.target.startswith("/v2/public/") else error(404, "NAME_UNKNOWN")


def open_registry() -> ScriptedRegistry:
    upstream = ScriptedRegistry()
    upstream.add("private/api", "1", PRIVATE)
    upstream.add("public/api", "1", PUBLIC)
    upstream.on(".*", "/v2/.+/", hide)
    return upstream


def documents(upstream: ScriptedRegistry, password: str = PASSWORD, **spec: Any) -> list[Document]:
    vendor = secret("vendor", USER, password)
    return [vendor, registry("upstream", upstream.host, secret="vendor", **spec), license_("acme")]


async def test_the_vendors_login_is_shown_where_strangers_hear_404(tmp_path: Path) -> None:
    async with open_registry() as upstream, running(tmp_path / "resources", *documents(upstream)) as gate:
        key = gate.key("acme")
        answer = await gate.get(f"{BASE}/private/api/manifests/1", key)
        assert (answer.status, answer.body) == (200, PRIVATE.manifest)
        for digest, blob in PRIVATE.blobs.items():
            assert (await gate.get(f"{BASE}/private/api/blobs/{digest}", key)).body == blob
        assert (await gate.get(f"{BASE}/private/api/tags/list", key)).status == 200
        assert (await gate.get(f"{BASE}/private/none/manifests/1", key)).fault in {
            "ManifestUnknown",
            "RepositoryUnknown",
        }


async def status_of(gate: Gate, reason: str) -> dict[str, tuple[str, str]]:
    """Status and reason of the Registry's conditions once Ready has `reason`."""
    rows: dict[str, tuple[str, str]] = {}

    async def is_ready() -> bool:
        document = await gate.store.get(Key("Registry", APP, "upstream")) or {}
        found = (document.get("status") or {}).get("conditions", ())
        rows.update({row["type"]: (row["status"], row["reason"]) for row in found})
        return rows.get("Ready", ("", ""))[1] == reason

    await eventually(is_ready)
    return rows


@pytest.mark.parametrize("password", [PASSWORD, "CANARY-wrong"], ids=["right", "wrong"])
async def test_a_registry_is_not_ready_while_nothing_proves_its_login(tmp_path: Path, password: str) -> None:
    async with open_registry() as upstream:
        spec: dict[str, Any] = {"check": {"image": "public/api:1"}}
        async with running(tmp_path / "resources", *documents(upstream, password, **spec)) as gate:
            assert (await status_of(gate, "NotProven"))["Authenticated"] == ("Unknown", "NotProven")


async def test_a_repository_of_the_spec_proves_the_login(tmp_path: Path) -> None:
    async with open_registry() as upstream:
        upstream.add("private/api", "latest", PRIVATE)
        spec: dict[str, Any] = {"repositories": ["private/api", "public/*"]}
        async with running(tmp_path / "resources", *documents(upstream, **spec)) as gate:
            assert (await status_of(gate, "Ready"))["Authenticated"] == ("True", "LoggedIn")
