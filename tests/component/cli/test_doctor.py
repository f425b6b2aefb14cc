"""`doctor` finds what is not well, and says nothing else is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from tests.support.cli import pullgate
from tests.support.gate import APP, Gate, license_, registry, running, secret
from tests.support.ports import free_port
from tests.support.upstreams import DockerRegistry


@pytest.fixture
async def gate(docker_registry_basic: DockerRegistry, tmp_path: Path) -> AsyncIterator[Gate]:
    upstream, port = docker_registry_basic, free_port()
    documents = [
        secret("vendor", upstream.username, upstream.password),
        registry("upstream", upstream.host, secret="vendor"),
        license_("acme"),
    ]
    url = f"http://127.0.0.1:{port}"
    async with running(tmp_path / "resources", *documents, listen_port=port, external_url=url) as gate:
        await gate.until(lambda: "Ready\n" in status(gate, "registry.upstream"))
        yield gate


def status(gate: Gate, name: str) -> str:
    path = gate.directory / ".pullgate" / "status" / APP / f"{name}.yaml"
    return path.read_text() if path.exists() else ""


async def findings(gate: Gate, *arguments: str) -> dict[str, str]:
    """The findings that are not ok: subject -> text."""
    ran = await pullgate("doctor", *arguments, "--folder", gate.directory, "-n", APP, "-o", "json")
    found = {f["about"]: f["text"] for f in ran.data["findings"] if f["state"] != "ok"}
    assert ran.code == (1 if any(f["state"] == "problem" for f in ran.data["findings"]) else 0)
    return found


async def test_nothing_is_found_where_all_is_well(gate: Gate) -> None:
    assert await findings(gate, "--proxy", gate.url) == {}


async def test_a_proxy_that_is_not_there_or_is_none_is_found(gate: Gate, docker_registry_basic: DockerRegistry) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    assert "does not answer" in (await findings(gate, "--proxy", away))[f"proxy {away}"]
    other = docker_registry_basic.url
    assert "for a token" in (await findings(gate, "--proxy", other))[f"proxy {other}"]
    admin = f"http://127.0.0.1:{gate.proxy.admin_port}"
    assert "something else" in (await findings(gate, "--proxy", admin))[f"proxy {admin}"]


async def test_mistakes_in_files_and_resources_that_are_not_well_are_found(gate: Gate) -> None:
    (gate.directory / "broken.yaml").write_text("kind: License\nspec: [\n")
    documents = [
        registry("dead", f"127.0.0.1:{free_port()}", secret="vendor"),
        license_("over", expiresAt="2026-01-01T00:00:00Z"),
    ]
    for document in documents:
        (gate.directory / f"{document['metadata']['name']}.yaml").write_text(yaml.safe_dump(document))
    await gate.until(lambda: "UpstreamUnreachable" in status(gate, "registry.dead"))
    await gate.until(lambda: "Expired" in status(gate, "license.over"))
    found = await findings(gate)
    assert "broken.yaml" in found["file"]
    assert found[f"Registry {APP}/dead"].startswith("UpstreamUnreachable")
    assert found[f"License {APP}/over"].startswith("Expired")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_completion_is_printed_for_a_shell(shell: str) -> None:
    ran = await pullgate("completion", shell)
    assert (ran.code, "_PULLGATE_COMPLETE" in ran.output) == (0, True)
    done = await pullgate(
        COMP_WORDS="pullgate lic", COMP_CWORD="lic" if shell == "fish" else "1", _PULLGATE_COMPLETE=f"{shell}_complete"
    )
    assert "license" in done.output
