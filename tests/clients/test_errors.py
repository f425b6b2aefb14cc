"""Each client's output for each fault names the cause, so that the reader knows whose move it is.

With PULLGATE_ERRORS_DIR set, the output is kept there; `make docs` builds docs/errors.md from it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.clients.scenarios import SCENARIOS, Scenario, World, image_for
from tests.support.catalog import seed
from tests.support.clients import Client, Pull
from tests.support.gate import license_, registry, running, secret
from tests.support.upstreams import ScriptedRegistry

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="module")]

TIMEOUTS = {"connect_timeout": 1.0, "first_byte_timeout": 0.5, "idle_timeout": 1.0}

_UNKNOWN = ("ManifestUnknown", "RepositoryUnknown", "BlobUnknown")
_SHORT = ("containerd 1.6", "containerd 2.4", "kubelet", "oras", "helm")
"""They say "not found" to a 404 and nothing else."""
HIDDEN: dict[tuple[str, str], str] = {
    **{(c, r): "not found" for c in _SHORT for r in _UNKNOWN},
    ("docker", "BlobUnknown"): "unknown blob",
    **{(c, "BlobUnknown"): "404 (Not Found)" for c in ("skopeo", "podman")},
    **{(c, "Overloaded"): "503 (Service Unavailable)" for c in ("skopeo", "podman")},
}
"""(client, reason) -> the client's own words, if it shows neither body nor reason phrase: some clients for a 404,
skopeo and podman for a ping and a blob."""


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[s.title for s in SCENARIOS])
async def test_what_a_person_sees_holds_the_cause(client: Client, scenario: Scenario, tmp_path: Path) -> None:
    async with ScriptedRegistry("basic") as upstream:
        await seed(upstream)
        documents = [
            secret("vendor", upstream.username, upstream.password),
            registry("upstream", upstream.host, secret="vendor"),
            license_("acme"),
        ]
        async with running(tmp_path / "resources", *documents, **TIMEOUTS) as gate:
            world = World(gate, upstream, *image_for(client.name), password=gate.key("acme"))
            await scenario.prepare(world)
            pulled = await client.pull(world.reference, world.username, world.password, tmp_path / "pulled")
        keep(client.name, scenario, pulled, world)
    assert pulled.exit_code != 0, pulled.output
    assert world.password not in pulled.output or not world.username
    words = HIDDEN.get((client.name, scenario.reason), scenario.words)
    assert words in unfolded(pulled.output), f"{client.name} hides the cause of {scenario.reason}: {pulled.output}"
    assert scenario.reason in {record["reason"] for record in world.gate.records()}


def unfolded(output: str) -> str:
    """`output` without the line breaks that a client puts into a message."""
    return " ".join(output.split())


def keep(client_name: str, scenario: Scenario, pulled: Pull, world: World) -> None:
    """Write the output for docs/errors.md, with the addresses of this run replaced."""
    directory = os.environ.get("PULLGATE_ERRORS_DIR")
    if not directory:
        return
    text = pulled.output.replace(world.gate.host, "images.example.com").replace(world.upstream.host, "quay.io")
    entry = {"client": client_name, "reason": scenario.reason, "title": scenario.title, "text": text}
    name = f"{client_name}-{scenario.title}.json".replace(" ", "_").replace("/", "_")
    Path(directory).mkdir(parents=True, exist_ok=True)
    (Path(directory) / name).write_text(json.dumps(entry))
