"""Wrong keys are counted by their source, told in words, and cost nobody with a right key anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from multidict import CIMultiDict

from pullgate.licensing.keys import new_key
from pullgate_proxy.limits.throttle import AT_ONCE, SECONDS, Throttle
from pullgate_proxy.settings import parse_networks
from tests.support.catalog import WORKER, seed
from tests.support.gate import APP, Gate, basic, license_, registry, running
from tests.support.upstreams import ScriptedRegistry

MANIFEST = f"/v2/proxy/{APP}/up/{WORKER}/manifests/1.0.0"
WORDS = f"{AT_ONCE} attempts with a wrong license key came from your address; try again in "


class StandingClock:
    """No attempt is given back while a test runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedRegistry]:
    async with ScriptedRegistry() as registry:
        await seed(registry)
        yield registry


@pytest.fixture
async def gate(tmp_path: Path, upstream: ScriptedRegistry, clock: StandingClock) -> AsyncIterator[Gate]:
    """It trusts 127.0.0.1 to say who a client is; a client at another address speaks for itself."""
    documents = [registry("up", upstream.host), license_("acme")]
    trusted = parse_networks(("127.0.0.1",))
    async with running(tmp_path / "resources", *documents, trusted_proxies=trusted) as gate:
        gate.proxy.throttle = Throttle(clock)
        yield gate


async def attempt(gate: Gate, source: str = "", path: str = MANIFEST, key: str = "") -> str:
    """The fault that a client at `source`, behind the trusted proxy, receives; "" if it is served."""
    headers = {"X-Forwarded-For": source} if source else {}
    return (await gate.get(path, key or new_key(), headers=headers)).fault


async def use_up(gate: Gate, source: str = "") -> None:
    assert {await attempt(gate, source) for _ in range(AT_ONCE)} == {"KeyUnknown"}


@pytest.mark.parametrize("path", [MANIFEST, "/v2/", "/token"])
@pytest.mark.parametrize("key", [new_key(), new_key()[:-1], "secret"], ids=["unknown", "cut", "no key"])
async def test_after_so_many_wrong_keys_the_answer_says_how_many_and_when_to_come_again(
    gate: Gate, upstream: ScriptedRegistry, path: str, key: str
) -> None:
    told = {await attempt(gate, path=path, key=key) for _ in range(AT_ONCE)}
    assert told == {"KeyUnknown" if len(key) == len(new_key()) else "KeyMalformed"}
    answer = await gate.get(path, key)
    assert (answer.status, answer.fault, answer.code) == (429, "TooManyAttempts", "TOOMANYREQUESTS")
    assert answer.message.startswith(f"{WORDS}3 s; ")
    assert f"Too Many Requests: {WORDS}3 s" in answer.reason
    assert int(answer.headers["Retry-After"]) == SECONDS
    assert not [asked for asked in upstream.requests if WORKER in asked.target]


async def test_a_login_by_a_form_is_counted_too(gate: Gate) -> None:
    form = {"grant_type": "password", "username": "acme", "password": new_key()}
    faults = [(await gate.ask("POST", "/token", data=form)).fault for _ in range(AT_ONCE + 1)]
    assert faults == ["KeyUnknown"] * AT_ONCE + ["TooManyAttempts"]


async def test_a_token_for_an_unknown_key_does_not_go_around_it(gate: Gate) -> None:
    """/token issues a token for a repository unchecked, since clients hide its errors; the pull reports the fault."""
    await use_up(gate)
    async with gate.session.get(
        f"{gate.url}/token?scope=repository:a:pull", headers={"Authorization": basic("acme", new_key())}
    ) as answer:
        token = (await answer.json())["token"]
    pulled = await gate.get(MANIFEST, headers={"Authorization": f"Bearer {token}"})
    assert pulled.fault == "TooManyAttempts"


async def test_a_right_key_is_served_whatever_wrong_ones_come_from_its_address(gate: Gate) -> None:
    await use_up(gate)
    assert await attempt(gate) == "TooManyAttempts"
    for path in (MANIFEST, "/v2/", "/token"):
        assert (await gate.get(path, gate.key("acme"))).status == 200
    assert await attempt(gate) == "TooManyAttempts"


async def test_a_customer_whose_license_ended_is_told_that_and_is_not_counted(gate: Gate) -> None:
    await gate.apply(license_("former", expiresAt="2026-10-01T00:00:00Z"))
    key = gate.key("former")
    assert {await attempt(gate, key=key) for _ in range(AT_ONCE + 5)} == {"LicenseExpired"}
    assert len(gate.proxy.throttle) == 0


async def test_who_shows_no_key_is_asked_for_one_and_is_not_counted(gate: Gate) -> None:
    assert {(await gate.get("/v2/")).fault for _ in range(AT_ONCE + 5)} == {"LoginRequired"}
    assert len(gate.proxy.throttle) == 0


async def test_one_more_attempt_is_given_back_each_few_seconds(gate: Gate, clock: StandingClock) -> None:
    await use_up(gate)
    clock.now = SECONDS - 0.5
    answer = await gate.get(MANIFEST, new_key())
    assert (answer.fault, answer.headers["Retry-After"]) == ("TooManyAttempts", "1")
    clock.now = SECONDS
    assert [await attempt(gate) for _ in range(2)] == ["KeyUnknown", "TooManyAttempts"]
    clock.now = SECONDS * (AT_ONCE + 1)
    await use_up(gate)


async def test_sources_are_counted_apart(gate: Gate) -> None:
    await use_up(gate, "192.0.2.1")
    assert await attempt(gate, "192.0.2.1") == "TooManyAttempts"
    assert await attempt(gate, "192.0.2.2") == "KeyUnknown"


async def test_an_ipv6_network_of_64_bits_is_one_source(gate: Gate) -> None:
    for number in range(AT_ONCE):
        assert await attempt(gate, f"2001:db8:0:1::{number:x}") == "KeyUnknown"
    assert await attempt(gate, "2001:db8:0:1:ffff:ffff:ffff:ffff") == "TooManyAttempts"
    assert await attempt(gate, "2001:db8:0:2::1") == "KeyUnknown"


async def test_an_ipv4_address_written_as_ipv6_is_the_same_source(gate: Gate) -> None:
    await use_up(gate, "192.0.2.1")
    assert await attempt(gate, "::ffff:192.0.2.1") == "TooManyAttempts"


async def test_a_stranger_cannot_name_himself_another_source(gate: Gate) -> None:
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with aiohttp.ClientSession(connector=connector) as session:
        told = []
        for number in range(AT_ONCE + 1):
            headers = {"Authorization": basic("x", new_key()), "X-Forwarded-For": f"192.0.2.{number}"}
            async with session.get(gate.url + MANIFEST, headers=headers) as answer:
                told.append(answer.headers["X-Pullgate-Reason"])
    assert told == ["KeyUnknown"] * AT_ONCE + ["TooManyAttempts"]
    assert await attempt(gate, "192.0.2.1") == "KeyUnknown"


async def test_the_table_of_sources_stays_bounded_and_forgets_the_oldest(gate: Gate, clock: StandingClock) -> None:
    gate.proxy.throttle = throttle = Throttle(clock, sources=30)
    await use_up(gate, "192.0.2.200")
    for number in range(100):
        assert await attempt(gate, f"198.51.100.{number}") == "KeyUnknown"
        assert len(throttle) <= 30
        if number < 60:  # who goes on is not forgotten
            assert await attempt(gate, "192.0.2.200") == "TooManyAttempts"
    assert await attempt(gate, "192.0.2.200") == "KeyUnknown"


async def test_a_flood_of_one_source_keeps_nobody_elses_pulls_out(gate: Gate) -> None:
    key, flooding = gate.key("acme"), True
    told: set[str] = set()

    async def flood() -> None:
        while flooding:
            told.add(await attempt(gate, "192.0.2.66"))

    flooders = [asyncio.create_task(flood()) for _ in range(16)]
    try:
        for number in range(100):
            headers = {"X-Forwarded-For": "192.0.2.66" if number % 2 else "192.0.2.1"}
            assert (await gate.get(MANIFEST, key, headers=headers)).status == 200
    finally:
        flooding = False
        await asyncio.gather(*flooders)
    assert told == {"KeyUnknown", "TooManyAttempts"}


async def test_a_line_of_its_own_before_the_trusted_proxys_makes_nobody_another_source(gate: Gate) -> None:
    for number in range(AT_ONCE + 1):
        lines = CIMultiDict([("X-Forwarded-For", f"203.0.113.{number}"), ("X-Forwarded-For", "192.0.2.9")])
        lines["Authorization"] = basic("x", new_key())
        async with gate.session.get(f"{gate.url}{MANIFEST}", headers=lines) as answer:
            fault = answer.headers["X-Pullgate-Reason"]
    assert fault == "TooManyAttempts"
    assert {record["client"] for record in gate.records() if record["reason"] != "Ok"} == {"192.0.2.9"}


async def test_log_and_metrics_tell_of_it_and_hold_no_key(gate: Gate) -> None:
    await use_up(gate, "192.0.2.9")
    key = new_key()
    await attempt(gate, "192.0.2.9", key=key)
    record = gate.records()[-1]
    assert (record["reason"], record["status"], record["client"]) == ("TooManyAttempts", 429, "192.0.2.9")
    assert WORDS in record["message"]
    async with gate.session.get(f"http://127.0.0.1:{gate.proxy.admin_port}/metrics") as answer:
        metrics = await answer.text()
    assert 'pullgate_requests_total{kind="manifests",reason="TooManyAttempts",status="429"} 1.0' in metrics
    assert "pullgate_wrong_key_sources 1.0" in metrics
    for text in (gate.log.getvalue(), metrics):
        assert key not in text
        assert key[4:30] not in text
