"""A wrong password is shown to an upstream a few times, however many pulls of however many apps use it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pullgate.resources.conditions import read_condition
from pullgate.store.port import Key
from tests.support.folder import eventually
from tests.support.gate import APP, Gate, license_, registry, running, secret
from tests.support.images import image
from tests.support.upstreams import ScriptedRegistry
from tests.support.upstreams.docker_registry import Auth

REPOSITORY, IMAGE = "my-org/api", image("refused")
NAMES = [f"up-{number}" for number in range(6)]


def path(name: str) -> str:
    return f"/v2/proxy/{APP}/{name}/{REPOSITORY}/manifests/1"


async def pull(gate: Gate, name: str) -> str:
    answer = await gate.get(path(name), gate.key("acme"))
    return answer.fault or str(answer.status)


@pytest.mark.parametrize("auth", ["basic", "token"])
async def test_all_registries_with_one_wrong_login_share_what_is_known_of_it(tmp_path: Path, auth: Auth) -> None:
    async with ScriptedRegistry(auth) as upstream:
        upstream.add(REPOSITORY, "1", IMAGE)
        registries = [registry(name, upstream.host, secret="vendor") for name in NAMES]
        wrong = secret("vendor", upstream.username, "CANARY-wrong")
        async with running(tmp_path / "resources", wrong, *registries, license_("acme")) as gate:

            async def all_checked() -> bool:
                found = [await gate.store.get(Key("Registry", APP, name)) for name in NAMES]
                return all(read_condition(one or {}, "Authenticated").get("status") == "False" for one in found)

            await eventually(all_checked)
            target = "/token" if auth == "token" else "/v2/"
            shown = [one for one in upstream.received(target=target) if "Authorization" in one.headers]
            assert len(shown) <= 2  # the operator's six checks
            before = len(shown)
            ends = await asyncio.gather(*(pull(gate, name) for name in NAMES * 5))
            assert set(ends) == {"UpstreamUnauthorized"}
            shown = [one for one in upstream.received(target=target) if "Authorization" in one.headers]
            assert len(shown) - before <= 2  # thirty pulls
            await gate.apply(secret("vendor", upstream.username, upstream.password))
            await gate.until_status(path(NAMES[0]), gate.key("acme"), 200)
