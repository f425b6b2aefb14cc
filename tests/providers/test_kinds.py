"""Each kind of key and each mode of a host that a type has: pulled with, and shown to the provider as it is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.providers.stage import SMALL, TIMEOUTS, World, opaque, registry_of
from tests.support.cli import pullgate
from tests.support.clients.daemonless import Skopeo
from tests.support.fakes.front import Front
from tests.support.fakes.kinds import KINDS, Kind
from tests.support.gate import license_, running
from tests.support.proven import prove_kind

pytestmark = pytest.mark.asyncio


def secret_of(kind: Kind, host: str) -> dict[str, Any]:
    """As a vendor writes it."""
    if not kind.docker_config:
        return opaque("vendor", kind.secret)
    config = json.dumps({"auths": {host: kind.secret}})
    found = opaque("vendor", {".dockerconfigjson": config})
    return {**found, "type": "kubernetes.io/dockerconfigjson"}


@pytest.mark.parametrize("kind", KINDS, ids=[f"{kind.type}-{kind.name}" for kind in KINDS])
async def test_a_kind_of_key_and_a_mode_of_host_pulls(kind: Kind, held: str, tmp_path: Path) -> None:
    async with Front(kind.flavour, held) as front:
        front.accept(*kind.login)
        documents = (secret_of(kind, front.host), registry_of(kind.type, front), license_("acme"))
        async with running(tmp_path / "resources", *documents, **TIMEOUTS) as gate:
            world = World(kind.type, front, gate, *kind.login)
            pulled = await Skopeo().pull(world.reference(), "acme", gate.key("acme"), tmp_path / "pulled")
            assert pulled.exit_code == 0, pulled.output
            everything = {m.digest for m in SMALL.walk()} | {b for m in SMALL.walk() for b in m.blobs}
            assert everything <= set(pulled.contents)
            assert set(front.logins) == {kind.login}
            assert not any(kind.login[1] in str(record) for record in gate.records())
    prove_kind(kind.type, kind.name)


ROUTED = [kind for kind in KINDS if kind.name in {"access token, path", "user token, path"}]


@pytest.mark.parametrize("kind", ROUTED, ids=[kind.type for kind in ROUTED])
async def test_a_path_that_lacks_the_repository_is_told_with_both_modes(kind: Kind, held: str) -> None:
    async with Front(kind.flavour, held) as front:
        front.accept(*kind.login)
        about = ["--type", kind.type, "--host", front.host, "--plain-http", "--username", kind.login[0]]
        wrong = ["--password-stdin", "--image", "my-org/small:1"]
        ran = await pullgate("registry", "test", *about, *wrong, stdin=kind.login[1])
        assert ran.code == 1
        assert "RepositoryUnknown" in ran.output
        assert "check the Docker repository" in ran.output or "check the name of the Docker repository" in ran.output
        right = ["--password-stdin", "--image", f"{front.flavour.prefix}my-org/small:1"]
        assert (await pullgate("registry", "test", *about, *right, stdin=kind.login[1])).code == 0
