"""Checks and runs of one app never take all slots: those of another are made in time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pullgate.store.port import Key
from tests.support.catalog import WORKER, seed
from tests.support.folder import condition, eventually
from tests.support.gate import API_VERSION, Gate, registry, running
from tests.support.upstreams import ScriptedRegistry, faults

HOSTILE = ("one", "two")
REGISTRIES = 30
TESTS = 10


def image_test(name: str, namespace: str, image: str) -> dict[str, Any]:
    spec = {"images": [image], "timeout": "1h", "retries": 0}
    return {
        "apiVersion": API_VERSION,
        "kind": "ImageTest",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def write(gate: Gate, *documents: dict[str, Any]) -> None:
    name = f"{documents[0]['metadata']['namespace']}-{documents[0]['kind']}.yaml"
    (gate.directory / name).write_text(yaml.safe_dump_all(documents))


async def until(gate: Gate, key: Key, type_: str, status: str) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        found = condition(await gate.store.get(key), type_)
        return found if found.get("status") == status else {}

    return await eventually(ask)


@pytest.fixture
async def stuck() -> AsyncIterator[ScriptedRegistry]:
    """An upstream that never answers."""
    async with ScriptedRegistry() as upstream:
        upstream.on("GET|HEAD", "/v2/", faults.hang())
        yield upstream


@contextlib.asynccontextmanager
async def gate_at(path: Path, **settings: Any) -> AsyncIterator[Gate]:
    async with running(path / "resources", **settings) as gate:
        yield gate


async def test_60_registries_at_an_interval_of_a_second_that_never_answer_delay_no_other(
    tmp_path: Path, stuck: ScriptedRegistry, scripted: ScriptedRegistry
) -> None:
    async with gate_at(tmp_path) as gate:
        for app in HOSTILE:
            names = [f"up-{number}" for number in range(REGISTRIES)]
            write(gate, *(registry(name, stuck.host, namespace=app, check={"interval": "1s"}) for name in names))
        await gate.until(lambda: len(stuck.requests) >= 10)
        write(gate, registry("up", scripted.host, namespace="three"))
        await until(gate, Key("Registry", "three", "up"), "Ready", "True")
        assert len(stuck.requests) < 20, "most of the others have not been asked yet"


async def test_20_image_tests_whose_upstream_drips_delay_no_run_of_another_app(
    tmp_path: Path, scripted: ScriptedRegistry
) -> None:
    async with ScriptedRegistry() as slow, gate_at(tmp_path) as gate:
        await seed(slow)
        slow.on("GET|HEAD", "/manifests/", faults.hang())
        for app in HOSTILE:
            await gate.apply(registry("up", slow.host, namespace=app, timeouts={"firstByte": "10m"}))
            write(gate, *(image_test(f"t-{number}", app, f"{slow.host}/{WORKER}:1.0.0") for number in range(TESTS)))
        await gate.until(lambda: sum("/manifests/" in request.target for request in slow.requests) >= 6)
        await gate.apply(registry("up", scripted.host, namespace="three"))
        write(gate, image_test("t", "three", f"{scripted.host}/{WORKER}:1.0.0"))
        await until(gate, Key("ImageTest", "three", "t"), "Passed", "True")


async def test_a_check_whose_upstream_drips_gives_its_slot_back_in_time(
    tmp_path: Path, stuck: ScriptedRegistry
) -> None:
    async with gate_at(tmp_path, check_seconds=0.5) as gate:
        write(gate, registry("up", stuck.host, namespace="one", timeouts={"firstByte": "10m"}))
        found = await until(gate, Key("Registry", "one", "up"), "Ready", "False")
        assert (found["reason"], "in 0.5 s" in found["message"]) == ("UpstreamTimeout", True)


async def test_an_interval_below_the_least_works_and_the_condition_says_what_it_is_taken_as(
    tmp_path: Path, scripted: ScriptedRegistry
) -> None:
    async with gate_at(tmp_path) as gate:
        write(gate, registry("up", scripted.host, namespace="one", check={"interval": "1s"}))
        found = await until(gate, Key("Registry", "one", "up"), "Ready", "True")
        assert "it is checked every 30s, which is the least that spec.check.interval can be" in found["message"]
