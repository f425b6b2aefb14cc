"""The limits of concurrent connections and pulls follow from the kernel's limits for the process."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest
from aiohttp import web

from pullgate.faults import Overloaded
from pullgate_proxy.listen.admission import CALM, FULL, PULL_COST, SPARE, Admission, plan_room
from pullgate_proxy.listen.memory import count_descriptors, read_resident
from pullgate_proxy.observe.metrics import Metrics
from pullgate_proxy.request.parse import Kind
from pullgate_proxy.settings import ProxySettings

MIB = 2**20


@pytest.mark.parametrize("descriptors", [64, 128, 256, 1024, 4096, 65_536, 1_048_576])
@pytest.mark.parametrize("opened", [5, 40])
@pytest.mark.parametrize("memory", [None, 64 * MIB, 256 * MIB, 1024 * MIB])
def test_all_that_may_be_open_at_once_has_its_descriptor(descriptors: int, opened: int, memory: int | None) -> None:
    room = plan_room(descriptors, opened, memory, ProxySettings())
    needed = room.connections + 2 * room.requests
    assert needed + min(opened + SPARE, descriptors // 2) <= descriptors
    assert room.requests >= 8
    assert room.connections >= 2 * room.requests, "whoever is refused needs a connection, too"


@pytest.mark.parametrize("memory", [64 * MIB, 256 * MIB, 1024 * MIB, 8192 * MIB])
def test_what_pulls_and_bodies_take_is_in_the_memory(memory: int) -> None:
    room = plan_room(1_048_576, 10, memory, ProxySettings())
    assert room.requests * PULL_COST <= memory * FULL
    assert room.bodies <= memory / 8


def test_settings_bound_it_where_the_kernel_does_not() -> None:
    room = plan_room(1_048_576, 10, None, ProxySettings(max_requests=7, max_connections=30))
    assert (room.requests, room.connections) == (7, 30)


async def unused(_: web.BaseRequest) -> web.StreamResponse:
    raise NotImplementedError


@pytest.fixture
async def admission() -> Admission:
    made = Admission(ProxySettings(), Metrics())
    made.serve(unused)
    return made


def begin(admission: Admission, count: int, kind: Kind = Kind.BLOBS) -> int:
    """How many of `count` are let in; those go on."""
    running = admission.running
    for _ in range(count):
        admission.running += 1
        try:
            admission.let_pull(kind)
        except Overloaded:
            admission.running -= 1
    return admission.running - running


async def test_between_two_looks_no_more_pulls_begin_than_there_is_memory_for(admission: Admission) -> None:
    admission.memory = int(read_resident() / FULL) + 20 * MIB
    admission.look()
    room = 20 * MIB * FULL / PULL_COST
    assert room - 3 <= begin(admission, 100) <= room + 1
    admission.running -= 5
    assert begin(admission, 100) == 5, "who ends makes room"


async def test_with_less_than_a_tenth_of_the_memory_left_none_begins_though_others_end(admission: Admission) -> None:
    admission.memory = int(read_resident() / (FULL + 0.02))
    admission.running = 10
    admission.look()
    admission.running = 0
    assert begin(admission, 10) == 0
    assert begin(admission, 10, Kind.PING) == 10


async def test_few_free_descriptors_are_not_for_pulls(admission: Admission) -> None:
    admission.memory = None
    admission._descriptors = count_descriptors() + 2
    admission.look()
    assert begin(admission, 5) == 0
    admission._descriptors = count_descriptors() + 1000
    admission.look()
    assert begin(admission, 5) == 5


async def test_at_the_edge_the_log_is_not_filled(admission: Admission, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(50):
        admission.memory = read_resident()
        admission.look()
        admission.memory = None
        admission.look()
    assert len(caplog.records) == 1
    for _ in range(CALM):
        admission.look()
    assert [record.getMessage() for record in caplog.records][1:] == ["new pulls are let in again"]


async def test_without_a_limit_of_memory_descriptors_are_what_counts(admission: Admission) -> None:
    admission.memory = None
    admission.look()
    assert admission._ceiling < sys.maxsize


def levels(metrics: Metrics, name: str) -> dict[str, Any]:
    return {
        sample.labels["of"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


async def test_each_level_has_its_limit(admission: Admission) -> None:
    found, limits = levels(admission._metrics, "pullgate_load"), levels(admission._metrics, "pullgate_load_limit")
    assert set(found) - {"idle_connections"} == set(limits)
    assert found["memory"] > MIB
    assert found["descriptors"] > 3
