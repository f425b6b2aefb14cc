"""An upstream's own sentence is for the vendor: in the log, in conditions, at the terminal, and in no answer."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from pullgate.resources.conditions import read_condition
from pullgate.store.port import Document, Key
from pullgate.upstream.answers import SAID_LIMIT
from tests.support.cli import pullgate
from tests.support.folder import eventually
from tests.support.gate import API_VERSION, APP, Gate, license_, registry, running, secret
from tests.support.images import image
from tests.support.upstreams import ScriptedRegistry, faults

REPOSITORY = "my-org/api"
PATH = f"/v2/proxy/{APP}/upstream/{REPOSITORY}/manifests/1"
SENTENCES = {
    # learn.microsoft.com, "Troubleshoot network issues with registry".
    "ACR": (403, "DENIED", "client with IP '203.0.113.7' is not allowed access. Refer https://aka.ms/acr/firewall"),
    "Xray": (403, "DENIED", "Artifact download request rejected: layer was blocked by a blocking policy in Xray"),
    "Google": (403, "DENIED", "Artifact Registry API has not been used in project 123 before or it is disabled."),
    "ECR": (
        403,
        "DENIED",
        (
            "User: arn:aws:sts::123456789012:assumed-role/puller/x is not authorized to perform: ecr:BatchGetImage on "
            "resource: arn:aws:ecr:eu-west-1:123456789012:repository/api because no identity-based policy allows it"
        ),
    ),
    "Quay": (405, "DENIED", "This namespace is disabled. Please contact your system administrator."),
}


@dataclass(frozen=True, slots=True)
class World:
    gate: Gate
    upstream: ScriptedRegistry

    async def condition(self, kind: str, name: str, type_: str, words: str) -> str:
        """The message of a condition, once it has `words`."""
        found = ""

        async def has_words() -> bool:
            nonlocal found
            document = await self.gate.store.get(Key(kind, APP, name))
            found = str(read_condition(document or {}, type_).get("message", ""))
            return words in found

        await eventually(has_words)
        return found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with ScriptedRegistry("basic") as upstream:
        upstream.add(REPOSITORY, "1", image("sentence"))
        vendor = secret("vendor", upstream.username, upstream.password)
        spec: Any = {"check": {"image": f"{REPOSITORY}:1", "interval": "1s"}}
        documents = [vendor, registry("upstream", upstream.host, secret="vendor", **spec), license_("acme")]
        async with running(tmp_path / "resources", *documents, least_interval=timedelta(seconds=1)) as gate:
            yield World(gate, upstream)


def image_test(upstream: ScriptedRegistry) -> Document:
    spec = {"images": [f"{upstream.host}/{REPOSITORY}:1"], "retries": 0}
    return {
        "apiVersion": API_VERSION,
        "kind": "ImageTest",
        "metadata": {"name": "release", "namespace": APP},
        "spec": spec,
    }


@pytest.mark.parametrize("name", SENTENCES)
async def test_the_vendor_reads_the_sentence_everywhere_and_the_customer_nowhere(world: World, name: str) -> None:
    status, code, sentence = SENTENCES[name]
    words = sentence[:60]
    world.upstream.on("GET|HEAD", "/manifests/", faults.refuse(status, code, sentence), after_login=True)
    # the customer
    for method in ("GET", "HEAD"):
        answer = await world.gate.ask(method, PATH, world.gate.key("acme"))
        assert answer.status == 403
        told = f"{answer.reason}\n{answer.headers}\n{answer.body.decode()}"
        assert words[:20] not in told
    assert answer.fault
    # the vendor's log, conditions and terminal
    assert [record["message"].count(words) for record in world.gate.records()[-2:]] == [1, 1]
    assert f"; it says: {code}: {sentence}" in await world.condition("Registry", "upstream", "Ready", words)
    (world.gate.directory / "release.yaml").write_text(yaml.safe_dump(image_test(world.upstream)))
    assert words in await world.condition("ImageTest", "release", "Passed", words)
    document = await world.gate.store.get(Key("ImageTest", APP, "release")) or {}
    assert sentence in document["status"]["results"][0]["message"]
    ran = await pullgate("registry", "test", "upstream", "--folder", world.gate.directory, "-n", APP)
    assert (ran.code, words in ran.output) == (1, True)


async def test_a_refused_login_is_told_with_its_sentence(world: World) -> None:
    sentence = "robot account is disabled"
    challenge = {"WWW-Authenticate": 'Basic realm="x"'}
    world.upstream.on("GET|HEAD", "/v2/", faults.refuse(401, "UNAUTHORIZED", sentence, challenge))
    answer = await world.gate.get(PATH, world.gate.key("acme"))
    assert answer.fault == "UpstreamUnauthorized"
    assert sentence not in answer.message
    assert sentence in world.gate.records()[-1]["message"]
    assert sentence in await world.condition("Registry", "upstream", "Authenticated", sentence)


@pytest.mark.parametrize("target", ["/token", "/manifests/"])
async def test_a_firewall_that_refuses_the_address_is_not_called_a_wrong_password(tmp_path: Path, target: str) -> None:
    async with ScriptedRegistry("token") as upstream:
        upstream.add(REPOSITORY, "1", image("sentence"))
        upstream.on("GET|HEAD", target, faults.refuse(*SENTENCES["ACR"]), after_login=True)
        vendor = secret("vendor", upstream.username, upstream.password)
        spec: Any = {"check": {"image": f"{REPOSITORY}:1"}}
        documents = [vendor, registry("upstream", upstream.host, secret="vendor", **spec), license_("acme")]
        async with running(tmp_path / "resources", *documents, least_interval=timedelta(seconds=1)) as gate:
            world = World(gate, upstream)
            answer = await gate.get(PATH, gate.key("acme"))
            assert answer.fault == "UpstreamForbidden"
            assert "refuses the network address that asks; your license is fine" in answer.message
            assert "203.0.113.7" not in answer.message
            ready = await world.condition("Registry", "upstream", "Ready", "203.0.113.7")
            assert "let the address that the registry names through its firewall" in ready
            assert "credentials" not in ready


async def test_the_sentence_is_one_line_of_bounded_length_without_a_secret(world: World) -> None:
    login = f"{world.upstream.username}:{world.upstream.password}"
    hidden = [world.upstream.password, base64.b64encode(login.encode()).decode(), "eyJhbGciOiJub25lIn0.eyJhIjoxfQ.c2ln"]
    sentence = "first\nsecond\x1b[31m\x00 \u202e" + " ".join(hidden) + " Bearer abcdefghijkl" + " long" * 4000
    world.upstream.on("GET|HEAD", "/manifests/", faults.refuse(403, "DENIED", sentence[:7000]), after_login=True)
    await world.gate.get(PATH, world.gate.key("acme"))
    message = world.gate.records()[-1]["message"]
    said = message.partition("it says: ")[2]
    assert said.startswith("DENIED: first second")
    assert len(said) <= SAID_LIMIT
    assert said.isprintable()
    assert "abcdefghijkl" not in said
    assert not any(one in json.dumps(world.gate.records()) for one in hidden)
    condition = await world.condition("Registry", "upstream", "Ready", "first second")
    assert not any(one in condition for one in hidden)


@pytest.mark.parametrize("message", ["manifest unknown", "MANIFEST_UNKNOWN", "Manifest unknown.", ""])
async def test_a_sentence_that_only_repeats_its_code_is_left_out(world: World, message: str) -> None:
    body = json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": message}]}).encode()
    world.upstream.on("GET", "/manifests/", faults.answer(404, body), after_login=True)
    await world.gate.get(PATH, world.gate.key("acme"))
    assert world.gate.records()[-1]["message"] == f"{REPOSITORY}:1 is not on {world.upstream.host}"


async def test_googles_own_form_of_an_error_is_read(world: World) -> None:
    body = json.dumps({"error": {"code": 403, "message": "API is disabled", "status": "PERMISSION_DENIED"}}).encode()
    world.upstream.on("GET", "/manifests/", faults.answer(403, body), after_login=True)
    await world.gate.get(PATH, world.gate.key("acme"))
    assert world.gate.records()[-1]["message"].endswith("it says: 403: API is disabled")
