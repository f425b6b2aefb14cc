"""The vendor sees who pulled how much, and what was denied, without a write for each pull."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pullgate.licensing.usage import HOUR, HOURS, Counts
from pullgate.oci.json_text import CONTAINER_LIMIT, MEMBER_LIMIT
from pullgate.store.port import Key
from pullgate.usage.poller import InvalidUsage, UsagePoller
from pullgate_operator.reconcile.usage import UsageLedger
from pullgate_proxy.limits.usage import PAGE, UsageBook
from tests.support.catalog import STABLE, WORKER
from tests.support.gate import APP, Gate, license_, registry, running, secret
from tests.support.ports import free_port
from tests.support.upstreams import DockerRegistry

ACME = Key("License", APP, "acme")


@pytest.fixture
async def gate(docker_registry_basic: DockerRegistry, tmp_path: Path) -> AsyncIterator[Gate]:
    upstream = docker_registry_basic
    documents = [
        secret("vendor", upstream.username, upstream.password),
        registry("upstream", upstream.host, secret="vendor"),
        license_("acme", {"repositories": ["my-org/*"]}),
    ]
    async with running(tmp_path / "resources", *documents) as gate:
        yield gate


async def ask(gate: Gate, ledger: UsageLedger) -> None:
    url = f"http://127.0.0.1:{gate.proxy.admin_port}/usage"
    async with gate.session.get(url) as response:
        ledger.take(await response.read())


async def test_pulls_bytes_and_denials_are_counted_by_license(gate: Gate) -> None:
    key, base = gate.key("acme"), f"/v2/proxy/{APP}/upstream"
    manifest = await gate.get(f"{base}/{WORKER}/manifests/1.0.0", key)
    blob = await gate.get(f"{base}/{WORKER}/blobs/{json.loads(manifest.body)['config']['digest']}", key)
    index = await gate.get(f"{base}/my-org/api/manifests/{STABLE}", key)
    await gate.ask("HEAD", f"{base}/{WORKER}/manifests/1.0.0", key)
    assert (await gate.get(f"{base}/other/thing/manifests/1", key)).status == 403
    assert (await gate.get(f"{base}/{WORKER}/manifests/1.0.0", "wrong")).status == 401
    ledger = UsageLedger(lambda: datetime.now(UTC))
    await ask(gate, ledger)
    usage = ledger.of(ACME)
    assert usage is not None
    assert usage.counts.pulls == 1, "an index is not a pull, nor is a HEAD"
    assert usage.counts.denied == 1
    assert usage.counts.bytes >= len(manifest.body) + len(blob.body) + len(index.body)
    document = await gate.store.get(ACME)
    assert document is not None
    assert list(usage.key_used) == [document["status"]["keys"][0]["id"]]


async def test_counts_of_a_proxy_that_was_restarted_are_added_to_those_before(gate: Gate) -> None:
    ledger = UsageLedger(lambda: datetime.now(UTC))
    path = f"/v2/proxy/{APP}/upstream/{WORKER}/manifests/1.0.0"
    await gate.get(path, gate.key("acme"))
    await ask(gate, ledger)
    await ask(gate, ledger)  # asking twice counts nothing twice
    gate.proxy = await gate.start_proxy()
    await gate.until(lambda: gate.proxy.snapshot.synced)
    await gate.get(path, gate.key("acme"))
    await ask(gate, ledger)
    usage = ledger.of(ACME)
    assert usage is not None
    assert usage.counts.pulls == 2


async def test_who_asks_again_is_told_only_what_is_new_and_in_pages() -> None:
    book, now = UsageBook(), datetime.now(UTC).timestamp()
    for number in range(PAGE + 1):
        book.note((APP, f"l{number}"), Counts(1), "", now)
    first = json.loads(book.render())
    assert (len(first["licenses"]), first["more"]) == (PAGE, True)
    second = json.loads(book.render(first["instance"], first["last"]))
    assert ([row["name"] for row in second["licenses"]], second["more"]) == ([f"l{PAGE}"], False)
    book.note((APP, "l7"), Counts(1), "", now)
    third = json.loads(book.render(second["instance"], second["last"]))
    assert [row["name"] for row in third["licenses"]] == ["l7"]
    assert len(json.loads(book.render("another", third["last"]))["licenses"]) == PAGE


async def test_a_page_of_the_busiest_licenses_is_within_what_a_reader_takes() -> None:
    book = UsageBook()
    for number in range(PAGE + 1):
        for hour in range(HOURS):
            book.note((APP, f"license-{number}"), Counts(10**9, 10**15, 10**9), f"k{hour:05}", 1.8e9 + hour * HOUR)
    keys, _, more = UsageLedger(lambda: datetime.now(UTC)).take(book.render())
    assert len(keys) == PAGE
    assert more
    body = book.render()
    assert body.count(b"[") + body.count(b"{") < CONTAINER_LIMIT
    assert body.count(b":") < MEMBER_LIMIT


async def test_licenses_that_are_counted_are_bounded() -> None:
    book = UsageBook(limit=2)
    for name in ("a", "b", "a", "c"):
        book.note((APP, name), Counts(1), "", 0.0)
    assert {row["name"] for row in json.loads(book.render())["licenses"]} == {"a", "c"}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"licenses": [{}], "last": 1, "instance": "a", "more": false}'])
def test_an_answer_that_is_no_usage_is_refused_whole(body: bytes) -> None:
    ledger = UsageLedger(lambda: datetime.now(UTC))
    with pytest.raises(InvalidUsage):
        ledger.take(body)


async def test_a_proxy_that_is_away_costs_only_its_own_figures(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    await gate.get(f"/v2/proxy/{APP}/upstream/{WORKER}/manifests/1.0.0", gate.key("acme"))
    ledger = UsageLedger(lambda: datetime.now(UTC))

    async def take(body: bytes) -> tuple[str, int, bool]:
        _, instance, more = ledger.take(body)
        return instance, ledger.last_of(instance), more

    names = [("registry.invalid", 1), ("127.0.0.1", free_port()), ("127.0.0.1", gate.proxy.admin_port)]
    polling = asyncio.create_task(UsagePoller(names, take, 0.05).run())
    try:
        await gate.until(lambda: ledger.of(ACME) is not None)
        await asyncio.sleep(0.2)
    finally:
        polling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await polling
    assert "does not resolve" in caplog.text
    assert caplog.text.count("registry.invalid") == 1, "a failure is told once"


def test_a_proxy_that_ended_is_forgotten_when_its_day_is_over() -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    ledger = UsageLedger(lambda: now)
    old, new = UsageBook(), UsageBook()
    old.note((APP, "acme"), Counts(3), "", now.timestamp())
    ledger.take(old.render())
    now += timedelta(hours=23)
    usage = ledger.of(ACME)
    assert usage is not None
    assert usage.counts.pulls == 3
    now += timedelta(hours=2)
    ledger.take(new.render())
    assert ledger.of(ACME) is None
