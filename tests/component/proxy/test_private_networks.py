"""Private networks: an app's upstream is there by the administrator's word alone, and metadata services never are."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pullgate.policy.tenancy import EVERYWHERE, Networks, TenantPolicy, parse_networks
from pullgate.resources.conditions import read_condition
from pullgate.store.port import Key
from tests.support.folder import eventually
from tests.support.gate import API_VERSION, APP, Gate, license_, registry
from tests.support.ports import free_port
from tests.support.upstreams.faults import answer
from tests.support.upstreams.scripted_registry import ScriptedRegistry

IMAGE = "/v2/proxy/my-app/quay/my-org/api/manifests/1.0"
LINK_LOCAL = "http://169.254.169.254/latest/meta-data/iam/security-credentials/"


async def ask(directory: Path, upstream: ScriptedRegistry, networks: Networks, *, allow: bool) -> tuple[int, str, str]:
    """A pull's status, reason and body, and what the Registry's condition Ready says."""
    async with Gate(directory, tenants=TenantPolicy(networks=networks)) as gate:
        network = {"allowPrivate": allow}
        await gate.apply(registry("quay", upstream.host, network=network), license_("acme"))
        got = await gate.get(IMAGE, gate.key("acme"))

        async def ready() -> str:
            document = await gate.store.get(Key("Registry", APP, "quay"))
            condition = read_condition(document or {}, "Ready")
            return str(condition["message"]) if condition.get("status", "Unknown") != "Unknown" else ""

        return got.status, f"{got.fault}: {got.message}", await eventually(ready)


@pytest.mark.parametrize("allow", [False, True])
async def test_a_private_host_is_asked_by_neither_operator_nor_proxy_unless_the_administrator_allows_it(
    tmp_path: Path, allow: bool
) -> None:
    async with ScriptedRegistry() as upstream:
        status, said, condition = await ask(tmp_path, upstream, parse_networks("*"), allow=allow)
        assert status == 503
        assert said.startswith("UpstreamUnreachable")
        assert "its address is private" in said
        assert "pullgate.dev/private-networks" in condition
        assert upstream.requests == []


@pytest.mark.parametrize("networks", [parse_networks("127.0.0.0/8"), EVERYWHERE])
async def test_no_switch_brings_the_body_of_a_metadata_service(tmp_path: Path, networks: Networks) -> None:
    async with ScriptedRegistry() as upstream:
        upstream.on("GET", "/manifests/", answer(307, headers={"Location": LINK_LOCAL}))
        upstream.on("HEAD", "/manifests/", answer(307, headers={"Location": LINK_LOCAL}))
        status, said, _ = await ask(tmp_path, upstream, networks, allow=True)
        assert status == 502
        assert said.startswith("RedirectRefused")
        assert "169.254" not in said


async def test_a_license_sends_its_test_to_no_private_host_that_its_own_pull_secret_names(tmp_path: Path) -> None:
    """An ImageTest asks as a customer, and the hosts of a pull Secret are the tenant's choice."""
    port = free_port()
    async with ScriptedRegistry() as inner:
        settings = {"listen_port": port, "external_url": f"http://127.0.0.1:{port}", "image_test_wait": timedelta()}
        async with Gate(tmp_path, tenants=TenantPolicy(), **settings) as gate:
            await gate.apply(license_("acme", pullSecret={"hosts": [inner.host]}))
            body = {"images": [f"{inner.host}/my-org/api:1.0"], "as": {"licenseRef": {"name": "acme"}}, "retries": 0}
            metadata = {"name": "release", "namespace": APP}
            await gate.apply({"apiVersion": API_VERSION, "kind": "ImageTest", "metadata": metadata, "spec": body})

            async def row() -> dict[str, Any] | None:
                document = await gate.store.get(Key("ImageTest", APP, "release"))
                rows = ((document or {}).get("status") or {}).get("results") or [None]
                found: dict[str, Any] | None = rows[0]
                return found

            found = await eventually(row)
            assert found is not None
            assert found["reason"] == "UpstreamUnreachable"
            assert inner.requests == []
