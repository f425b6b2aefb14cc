"""One word for each fault, wherever a person or a program meets it: command line, JSON, ImageTest, Event.

The output is kept in snapshots/: at 80 columns on a terminal, and in a pipe. PULLGATE_UPDATE_SNAPSHOTS=1 writes
them anew.
"""

from __future__ import annotations

import json
import os
import re
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml

from pullgate.store.port import Key
from tests.clients.scenarios import SCENARIOS, Scenario, World
from tests.support.catalog import WORKER, seed
from tests.support.cli import Ran, pullgate
from tests.support.folder import condition, eventually
from tests.support.gate import API_VERSION, APP, license_, registry, running, secret
from tests.support.ports import free_port
from tests.support.upstreams import ScriptedRegistry

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "gate.schema.json").read_text())
SNAPSHOTS = Path(__file__).parent / "snapshots"
TIMEOUTS = {"connect_timeout": 1.0, "first_byte_timeout": 0.5, "idle_timeout": 1.0}
NEVER_OF_A_LICENSE = {"LoginRequired", "KeyMalformed", "KeyUnknown", "KeyRotated", "KeyRevoked", "TooManyAttempts"}
"""Faults that cannot occur in a test with the key from the License's own Secret."""
FAULTS = [scenario for scenario in SCENARIOS if scenario.reason not in NEVER_OF_A_LICENSE]


@pytest.mark.parametrize("scenario", FAULTS, ids=[scenario.title for scenario in FAULTS])
async def test_a_fault_has_one_name_everywhere(scenario: Scenario, tmp_path: Path) -> None:
    async with ScriptedRegistry("basic") as upstream:
        await seed(upstream)
        documents = [
            secret("vendor", upstream.username, upstream.password),
            registry("upstream", upstream.host, secret="vendor"),
            license_("acme"),
        ]
        port = free_port()
        where = {"listen_port": port, "external_url": f"http://127.0.0.1:{port}", "image_test_wait": timedelta()}
        async with running(tmp_path / "resources", *documents, **where, **TIMEOUTS) as gate:
            world = World(gate, upstream, WORKER, "1.0.0", password=gate.key("acme"))
            await scenario.prepare(world)
            arguments = ["image", "test", world.reference, "--as", "acme", "--retries", "0", "-n", APP]
            arguments += ["--folder", str(gate.directory)]
            as_json = await pullgate(*arguments, "-o", "json")
            jsonschema.validate(as_json.data, SCHEMA)
            result = as_json.data["runs"][0]["results"][0]
            assert (as_json.code, result["reason"]) == (1, scenario.reason), as_json.output
            assert scenario.words in result["message"]
            for name, columns in (("pipe", 0), ("80-columns", 80)):
                compare(world, scenario, name, await pullgate(*arguments, columns=columns))
            test = {"images": [world.reference], "as": {"licenseRef": {"name": "acme"}}, "retries": 0}
            head = {"apiVersion": API_VERSION, "kind": "ImageTest", "metadata": {"name": "release", "namespace": APP}}
            (gate.directory / "release.yaml").write_text(yaml.safe_dump({**head, "spec": test}))

            async def failed() -> bool:
                document = await gate.store.get(Key("ImageTest", APP, "release"))
                return condition(document, "Passed").get("reason") == scenario.reason

            await eventually(failed)

            async def told() -> bool:
                events = (gate.directory / ".pullgate" / "events.jsonl").read_text().splitlines()
                return any(e["kind"] == "ImageTest" and e["reason"] == scenario.reason for e in map(json.loads, events))

            await eventually(told)


def compare(world: World, scenario: Scenario, form: str, ran: Ran) -> None:
    """Compare the output with its snapshot."""
    path = SNAPSHOTS / f"{scenario.title.replace(' ', '-').replace(chr(39), '')}.{form}.txt"
    text = clean(ran.output.replace(world.gate.host, "images.test").replace(world.upstream.host, "quay.test"))
    if os.environ.get("PULLGATE_UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text


def clean(text: str) -> str:
    """`text` without parts that differ from run to run, and without digests, which depend on the version of zlib."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    text = re.sub(r"\d+\.\d+ s\b", "N s", text)
    text = re.sub(r"\b(?:localhost|127\.0\.0\.1):\d+", "host.test", text)
    text = re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, text)
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("testing")]
    return "\n".join(lines) + "\n"
