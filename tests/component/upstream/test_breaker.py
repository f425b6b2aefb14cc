"""An upstream that is down is left alone, asked again by one at a time, and used again as soon as it answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from pullgate import faults
from pullgate.oci.manifest import MANIFEST_TYPES
from pullgate.policy.tenancy import LOOPBACK
from pullgate.upstream.breaker import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, Breaker
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.request import UpstreamRequest
from tests.support.catalog import WORKER, seed
from tests.support.upstreams import ScriptedRegistry
from tests.support.upstreams import faults as spoil

REQUEST = UpstreamRequest("GET", WORKER, "manifests", "1.0.0", accept=MANIFEST_TYPES)
DEAD = faults.UpstreamUnreachable("quay.io", "connection refused")
DEAD.no_connection = True


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breaker:
    breaker = Breaker("my-app/quay", clock)
    for _ in range(FAILURES):
        breaker.enter()
        breaker.failed(DEAD, REQUEST)
    return breaker


def test_some_failures_in_a_row_open_it_and_one_success_in_between_does_not() -> None:
    breaker = Breaker("my-app/quay", Clock())
    for _ in range(3 * FAILURES):
        breaker.enter()
        breaker.failed(DEAD, REQUEST)
        breaker.succeeded()
    assert not breaker.is_open
    assert opened(Clock()).is_open


def test_while_it_is_open_the_last_fault_is_told_with_the_time() -> None:
    with pytest.raises(faults.UpstreamUnreachable, match="connection refused; it is asked again in 2 s") as caught:
        opened(Clock()).enter()
    assert caught.value.retry_after == FIRST_PAUSE


def test_one_at_a_time_asks_again_and_later_each_time() -> None:
    clock = Clock()
    breaker = opened(clock)
    pauses = []
    for _ in range(6):
        began = clock.now
        while True:
            clock.now += 0.5
            try:
                breaker.enter()
                break
            except faults.UpstreamUnreachable:
                continue
        pauses.append(clock.now - began)
        with pytest.raises(faults.UpstreamUnreachable):
            breaker.enter()  # another one, meanwhile
        breaker.failed(DEAD, REQUEST)
    assert pauses == [2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE]


def test_one_who_leaves_without_an_answer_lets_the_next_ask() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = FIRST_PAUSE
    breaker.enter()
    breaker.left()
    breaker.enter()
    breaker.succeeded()
    assert not breaker.is_open


async def test_a_registry_that_fails_is_asked_no_more_and_serves_again_when_it_is_mended() -> None:
    clock = Clock()
    async with ScriptedRegistry() as registry:
        await seed(registry)
        config = UpstreamConfig(
            "my-app/up", registry.host, registry.host, plain_http=True, allow_private=True, networks=LOOPBACK
        )
        async with Upstream(config, clock=clock) as upstream:
            registry.on("GET", "/manifests/", spoil.answer(500))
            for number in range(FAILURES):
                with pytest.raises(faults.UpstreamError):
                    await upstream.fetch_manifest(replace(REQUEST, reference=f"1.0.{number}"))
            asked = len(registry.requests)
            with pytest.raises(faults.UpstreamError, match="asked again"):
                await upstream.fetch_manifest(REQUEST)
            assert len(registry.requests) == asked
            found = upstream.is_down
            assert found
            registry.heal()
            clock.now += FIRST_PAUSE
            assert (await upstream.fetch_manifest(REQUEST)).digest
            assert not upstream.is_down
            await asyncio.gather(*(upstream.fetch_manifest(REQUEST) for _ in range(5)))


async def test_a_refusal_is_an_answer_and_opens_nothing() -> None:
    async with ScriptedRegistry() as registry:
        await seed(registry)
        config = UpstreamConfig(
            "my-app/up", registry.host, registry.host, plain_http=True, allow_private=True, networks=LOOPBACK
        )
        async with Upstream(config) as upstream:
            for _ in range(3 * FAILURES):
                with pytest.raises(faults.ManifestUnknown):
                    await upstream.fetch_manifest(UpstreamRequest("GET", WORKER, "manifests", "9.9.9"))
            assert not upstream.is_down
