"""Private networks: an app's upstream is there by the administrator's word alone, and metadata services never are."""

from __future__ import annotations

from pathlib import Path

import pytest

from pullgate.policy.tenancy import EVERYWHERE, Networks, TenantPolicy, parse_networks
from pullgate.resources.conditions import read_condition
from pullgate.store.port import Key
from tests.support.folder import eventually
from tests.support.gate import APP, Gate, license_, registry
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
