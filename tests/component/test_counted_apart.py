"""A test pulls as its customer does and counts as a test: it is none of the customer's use and uses up no limit."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import shutil
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from pullgate.faults import TooManyTests
from pullgate.licensing.marks import (
    COUNTED_APART,
    LIFETIME,
    LIMIT_HEADER,
    TEST_HEADER,
    TEST_KEY_NAME,
    Marker,
    decode_mark_key,
    derive_mark_key,
)
from pullgate.licensing.usage import HOUR, Counts, Usage
from pullgate.policy.facts import LicenseFacts, Limits
from pullgate.providers.handoff import encode_signing_keys, secret_data
from pullgate.store.port import Key
from pullgate.words import count
from pullgate_operator.plan.signing import ROTATION, plan_token_keys
from pullgate_operator.reconcile.signing import fetch_token_keys
from pullgate_operator.reconcile.usage import UsageLedger
from pullgate_proxy.limits.limits import Gatekeeper, PeerUsage
from pullgate_proxy.limits.usage import UsageBook
from pullgate_proxy.observe.pull_log import PullLog
from pullgate_proxy.request.parse import Kind
from pullgate_proxy.request.record import Record
from tests.support.catalog import API, STABLE, WORKER, catalog, seed
from tests.support.cli import Ran, pullgate
from tests.support.folder import condition, eventually
from tests.support.gate import API_VERSION, APP, Gate, license_, registry, running, secret
from tests.support.ports import free_port
from tests.support.upstreams import S3Like, ScriptedRegistry

BASE = f"/v2/proxy/{APP}/upstream/{WORKER}"
MANIFEST = f"{BASE}/manifests/1.0.0"
IMAGE = catalog()[WORKER, "1.0.0"]
ONE_PULL = {"pullsPerHour": 1}


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedRegistry]:
    async with ScriptedRegistry("basic") as upstream:
        await seed(upstream)
        yield upstream


@pytest.fixture
async def gate(upstream: ScriptedRegistry, tmp_path: Path) -> AsyncIterator[Gate]:
    """The Licenses acme, which may pull once an hour, and other, without a limit; and another app's acme."""
    left = HOUR - time.time() % HOUR
    if left < 20:  # limits begin anew at the full hour
        await asyncio.sleep(left + 0.1)
    port = free_port()
    documents = [
        secret("vendor", upstream.username, upstream.password),
        registry("upstream", upstream.host, secret="vendor", network={"allowPrivate": True}),
        license_("acme", limits=ONE_PULL),
        license_("other"),
        {**license_("acme-elsewhere", namespace="other-app")},
    ]
    async with running(
        tmp_path / "resources", *documents, listen_port=port, external_url=f"http://127.0.0.1:{port}"
    ) as gate:
        await gate.until(lambda: mark_key_file(gate).exists())
        yield gate


def mark_key_file(gate: Gate, namespace: str = APP) -> Path:
    return gate.directory / ".pullgate" / "secrets" / namespace / f"{TEST_KEY_NAME}.yaml"


async def marker(gate: Gate, license_name: str = "acme", namespace: str = APP) -> Marker:
    document = await gate.store.get(Key("Secret", namespace, TEST_KEY_NAME))
    assert document is not None
    return Marker(decode_mark_key(secret_data(document)), namespace, license_name)


async def mark(gate: Gate, license_name: str = "acme", ago: float = 0.0) -> dict[str, str]:
    return {TEST_HEADER: (await marker(gate, license_name)).make(time.time() - ago)}


def images(gate: Gate) -> list[str]:
    """One image, and an index of two."""
    facts = gate.proxy.snapshot.registry_named(APP, "upstream")
    assert facts is not None
    return [f"{facts.host}/{WORKER}:1.0.0", f"{facts.host}/{API}:{STABLE}"]


def usage(gate: Gate, license_name: str = "acme") -> Usage:
    ledger = UsageLedger(lambda: datetime.now(UTC))
    ledger.take(gate.proxy.usage.render())
    return ledger.of(Key("License", APP, license_name)) or Usage(0, Counts())


def assert_untouched(found: Usage) -> None:
    assert found.counts.tests > 0
    assert found.counts == Counts(tests=found.counts.tests)
    assert found.last_pull == 0
    assert found.key_used == {}


# --- the runs ----------------------------------------------------------------------------------------------------


async def until_passed(gate: Gate, name: str) -> dict[str, Any]:
    async def ask() -> dict[str, Any] | None:
        document = await gate.store.get(Key("ImageTest", APP, name))
        return document if condition(document, "Ready").get("reason") == "Passed" else None

    found = await eventually(ask)
    assert found is not None
    return found


def write_test(gate: Gate, name: str) -> None:
    spec = {"images": images(gate), "as": {"licenseRef": {"name": "acme"}}}
    document = {
        "apiVersion": API_VERSION,
        "kind": "ImageTest",
        "metadata": {"name": name, "namespace": APP},
        "spec": {**spec, "depth": "Download"},
    }
    (gate.directory / f"{name}.yaml").write_text(yaml.safe_dump(document))


async def test_an_image_test_as_a_customer_is_none_of_its_use(gate: Gate) -> None:
    write_test(gate, "release")
    document = await until_passed(gate, "release")
    assert_untouched(usage(gate))
    assert condition(document, "Ready")["message"] == "2/2 passed"
    await gate.tell_usage()

    async def told() -> dict[str, Any] | None:
        document = await gate.store.get(Key("License", APP, "acme"))
        return ((document or {}).get("status") or {}).get("usage")

    status = await eventually(told)
    assert status is not None
    assert status["tests24h"] == usage(gate).counts.tests
    assert (status["pulls24h"], status["bytes24h"], status["denied24h"]) == (0, 0, 0)
    assert "lastPullAt" not in status
    shown = await pullgate("license", "show", "acme", "--folder", gate.directory, "-n", APP)
    assert "0 pulls, 0 bytes, 0 denied in 24 hours; last pull never" in shown.output
    assert f"{count(status['tests24h'], 'request')} of tests in 24 hours" in shown.output
    assert (await gate.get(MANIFEST, gate.key("acme"))).status == 200, "its one pull is still there"


async def run_gate(gate: Gate, *arguments: str) -> Ran:
    return await pullgate("gate", *images(gate), "--as", "acme", "--folder", gate.directory, "-n", APP, *arguments)


async def test_a_gate_as_a_customer_is_none_of_its_use(gate: Gate) -> None:
    ran = await run_gate(gate, "--depth", "download", "-o", "json")
    assert ran.code == 0, ran.output
    assert not any("notice" in row for row in ran.data["runs"][0]["results"])
    assert_untouched(usage(gate))
    assert (await gate.get(MANIFEST, gate.key("acme"))).status == 200


async def test_a_gate_passes_a_limit_that_is_used_up_and_says_so(gate: Gate) -> None:
    assert (await gate.get(MANIFEST, gate.key("acme"))).status == 200
    before = usage(gate)
    ran = await run_gate(gate)
    assert ran.code == 0, ran.output
    words = "license acme used its 1 pull this hour: its own pulls are refused now"
    assert ran.output.count(words) == 1, ran.output
    after = usage(gate)
    assert (after.counts.pulls, after.counts.bytes, after.last_pull) == (1, before.counts.bytes, before.last_pull)
    write_test(gate, "release")
    document = await until_passed(gate, "release")
    assert words in condition(document, "Ready")["message"]
    assert (await gate.get(MANIFEST, gate.key("acme"))).fault == "LimitReached"


async def test_a_gate_that_cannot_mark_its_run_says_that_it_counts_and_goes_on(gate: Gate) -> None:
    mark_key_file(gate).write_text("kind: Secret\napiVersion: v1\nmetadata: {name: pullgate-test-key}\n")
    ran = await run_gate(gate, "--depth", "manifest")
    assert "this run counts as pulls of acme, and uses up its limits" in ran.output
    assert usage(gate).counts.tests == 0
    assert usage(gate).counts.pulls == 1


async def test_a_gate_whose_marks_are_not_taken_says_that_it_counts(gate: Gate, tmp_path: Path) -> None:
    old = tmp_path / "old"  # a copy that nobody serves, with a key that the proxy does not know any more
    await asyncio.to_thread(shutil.copytree, gate.directory, old)
    path = old / mark_key_file(gate).relative_to(gate.directory)
    text = json.dumps({"id": "old", "key": base64.urlsafe_b64encode(b"7" * 32).decode()})
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "stringData": {"key.json": text}}))
    ran = await pullgate("gate", images(gate)[0], "--as", "other", "--folder", old, "-n", APP, "-o", "json")
    assert ran.code == 0, ran.output
    assert "it counts as the customer's pulls" in ran.data["runs"][0]["results"][0]["notice"]
    assert (usage(gate, "other").counts.pulls, usage(gate, "other").counts.tests) == (1, 0)


# --- the mark ----------------------------------------------------------------------------------------------------


async def test_a_marked_request_is_authorized_as_the_customers(gate: Gate) -> None:
    headers = await mark(gate)
    assert (await gate.get(MANIFEST, None, headers=headers)).status == 401
    assert (await gate.get(MANIFEST, "pgk_wrong", headers=headers)).fault == "KeyMalformed"
    await gate.apply(license_("acme", {"repositories": ["elsewhere/*"]}, limits=ONE_PULL))
    await gate.until_status(MANIFEST, gate.key("acme"), 403)
    denied = usage(gate).counts.denied
    assert (await gate.get(MANIFEST, gate.key("acme"), headers=headers)).fault == "NotEntitled"
    await gate.apply(license_("acme", suspended={"reason": "invoice 77"}))
    async with asyncio.timeout(10):
        while (await gate.get(MANIFEST, gate.key("acme"), headers=headers)).fault != "LicenseSuspended":
            await asyncio.sleep(0.02)
    assert usage(gate).counts.denied == denied


async def test_what_is_no_mark_of_this_license_counts_as_the_customers(gate: Gate) -> None:
    key = gate.key("other")
    token = json.loads((await gate.get(f"/token?scope=repository:{WORKER}:pull", key)).body)["token"]
    keys = gate.proxy.snapshot.signing_keys
    elsewhere = await marker(gate, "other", "other-app")
    first = keys.keys[0]
    bad = {
        "replayed after five minutes": (await mark(gate, "other", ago=LIFETIME))[TEST_HEADER],
        "of another License": (await mark(gate, "acme"))[TEST_HEADER],
        "of another namespace": elsewhere.make(time.time()),
        "of another namespace's key": Marker(elsewhere.key, APP, "other").make(time.time()),
        "by the key of tokens": Marker(type(elsewhere.key)(first.id, first.secret), APP, "other").make(time.time()),
        "forged": Marker(derive_mark_key(first.id, b"9" * 32, APP), APP, "other").make(time.time()),
        "for a year": (await mark(gate, "other", ago=-365 * 86400))[TEST_HEADER],
        "a token": token,
        "a ticket": keys.issue_ticket(f"{APP}/other", time.time()),
        "nothing": "",
        "long": "x" * 7000,
    }
    for number, (what, value) in enumerate(bad.items(), 1):
        answer = await gate.get(MANIFEST, key, headers={TEST_HEADER: value})
        assert (answer.status, answer.headers.get(TEST_HEADER)) == (200, None), what
        assert (usage(gate, "other").counts.pulls, usage(gate, "other").counts.tests) == (number, 0), what
    good = await gate.get(MANIFEST, key, headers=await mark(gate, "other"))
    assert (good.status, good.headers[TEST_HEADER]) == (200, COUNTED_APART)
    assert (usage(gate, "other").counts.pulls, usage(gate, "other").counts.tests) == (len(bad), 1)


async def test_a_mark_lets_nobody_in(gate: Gate) -> None:
    value = (await mark(gate))[TEST_HEADER]
    answer = await gate.get(MANIFEST, headers={TEST_HEADER: value, "Authorization": f"Bearer {value}"})
    assert answer.status == 401
    assert answer.headers.get(TEST_HEADER) is None


async def test_a_mark_outlives_the_rotation_of_its_key_and_the_next_one_has_the_new_key(gate: Gate) -> None:
    headers, before = await mark(gate, "other"), await marker(gate, "other")
    keys = await fetch_token_keys(gate.store)
    aged, _ = plan_token_keys(keys, keys[0].created_at + ROTATION, lambda: b"5" * 32)
    # The new key is of now: one from the future would not sign.
    await gate.store.apply_secret(encode_signing_keys([_of_now(aged[0]), *aged[1:]]))

    async def rotated() -> bool:
        return (await marker(gate, "other")).key.id == aged[0].id

    assert await eventually(rotated)
    await gate.until(lambda: gate.proxy.snapshot.signing_keys.keys[0].id == aged[0].id)
    assert before.key.id != aged[0].id
    for sent in (headers, await mark(gate, "other")):
        assert (await gate.get(MANIFEST, gate.key("other"), headers=sent)).headers[TEST_HEADER] == COUNTED_APART


def _of_now(key: Any) -> Any:
    return dataclasses.replace(key, created_at=datetime.now(UTC).replace(microsecond=0))


async def test_the_key_of_marks_goes_with_the_last_license(gate: Gate) -> None:
    path = mark_key_file(gate, "other-app")
    await gate.until(path.exists)
    await gate.delete("License", "acme-elsewhere", "other-app")
    await gate.until(lambda: not path.exists())
    assert mark_key_file(gate).exists()


async def test_a_secret_of_somebody_else_with_that_name_stays(gate: Gate) -> None:
    await gate.delete("License", "acme-elsewhere", "other-app")
    await gate.until(lambda: not mark_key_file(gate, "other-app").exists())
    own = secret(TEST_KEY_NAME, "user", "CANARY-vendor", namespace="other-app")
    (gate.directory / "own.yaml").write_text(yaml.safe_dump(own))
    await gate.apply(license_("acme-elsewhere", namespace="other-app"))
    document = await gate.store.get(Key("Secret", "other-app", TEST_KEY_NAME))
    assert document is not None
    assert "username" in secret_data(document)
    assert not mark_key_file(gate, "other-app").exists()


# --- where it must not go ----------------------------------------------------------------------------------------


async def test_neither_upstream_nor_log_sees_a_mark_and_only_a_test_is_answered_about_it(
    gate: Gate, upstream: ScriptedRegistry
) -> None:
    headers = await mark(gate)
    value = headers[TEST_HEADER]
    for end in ("manifests/1.0.0", f"blobs/{IMAGE.config}", "tags/list"):
        answer = await gate.get(f"{BASE}/{end}", gate.key("acme"), headers=headers)
        assert answer.headers[TEST_HEADER] == COUNTED_APART
    for request in upstream.received(target=WORKER):
        assert value not in str(request.headers)
        assert TEST_HEADER not in request.headers
    assert value not in gate.log.getvalue()
    assert value.rpartition(".")[2] not in gate.proxy.render_metrics().decode() + gate.log.getvalue()
    assert [row.get("test") for row in gate.records()] == [True] * 3
    assert "pullgate_tests_total 3.0" in gate.proxy.render_metrics().decode()
    plain = await gate.get(MANIFEST, gate.key("acme"))
    assert not {TEST_HEADER, LIMIT_HEADER} & set(plain.headers)
    assert "test" not in gate.records()[-1]
    refused = await gate.get(MANIFEST, gate.key("acme"))
    assert refused.fault == "LimitReached"
    assert not {TEST_HEADER, LIMIT_HEADER} & set(refused.headers)
    told = await gate.get(MANIFEST, gate.key("acme"), headers=headers)
    assert (told.status, told.headers[LIMIT_HEADER]) == (200, "license acme used its 1 pull this hour")


async def test_a_mark_does_not_follow_a_redirect_to_another_host(gate: Gate, upstream: ScriptedRegistry) -> None:
    async with S3Like() as store:
        upstream.blob_store = store
        spec: dict[str, Any] = {"delivery": "Redirect", "network": {"allowPrivate": True}}
        await gate.apply(registry("upstream", upstream.host, secret="vendor", **spec))
        await gate.until_status(f"{BASE}/blobs/{IMAGE.config}", gate.key("other"), 307)
        ran = await run_gate(gate, "--depth", "download")
        assert ran.code == 0, ran.output
        assert_untouched(usage(gate))
        assert store.requests
        assert not [request for request in store.requests if TEST_HEADER in request.headers]


# --- its own bound -----------------------------------------------------------------------------------------------


def enter(keeper: Gatekeeper, book: UsageBook, times: int) -> None:
    for _ in range(times):
        keeper.enter_test(LicenseFacts(APP, "acme", ()), time.time())
        book.note((APP, "acme"), Counts(tests=1), "", time.time())


async def test_tests_have_a_bound_of_their_own_which_the_replicas_share() -> None:
    book, other = UsageBook(), UsageBook()
    peers = PeerUsage(book.instance)
    keeper = Gatekeeper(book, peers, tests_per_hour=5)
    enter(keeper, book, 2)
    other.note((APP, "acme"), Counts(tests=2), "", time.time())
    await peers.take(other.render())
    enter(keeper, book, 1)
    with pytest.raises(TooManyTests, match="tests as license acme made 5 requests this hour") as refused:
        enter(keeper, book, 1)
    assert 0 < (refused.value.retry_after or 0) <= HOUR
    limits = Limits(pulls_per_hour=1)
    keeper.enter(LicenseFacts(APP, "acme", (), limits=limits), limits, Kind.MANIFESTS, time.time())  # as a customer


async def test_an_answer_that_is_remembered_goes_past_no_bound(gate: Gate) -> None:
    replica = await gate.start_proxy(listen_port=0, manifest_cache=2**20)
    await gate.until(lambda: replica.snapshot.synced and bool(replica.snapshot.signing_keys.keys))
    key = gate.key("other")
    for _ in range(3):
        assert (await gate.get(MANIFEST, key, proxy=replica)).status == 200
    replica.replica.gatekeeper._tests_per_hour = 0
    refused = await gate.get(MANIFEST, key, proxy=replica, headers=await mark(gate, "other"))
    assert (refused.status, refused.fault) == (429, "TooManyTests")
    assert "tests as license other made 0 requests this hour; wait, or test fewer images" in refused.message
    plain = await gate.get(MANIFEST, key, proxy=replica)
    assert plain.status == 200
    assert not {TEST_HEADER, LIMIT_HEADER} & set(plain.headers)


async def test_a_peer_of_an_earlier_version_counted_no_tests_and_it_reads_what_is_told_now() -> None:
    book, old = UsageBook(), UsageBook()
    old.note((APP, "acme"), Counts(pulls=1), "", time.time())
    answer = json.loads(old.render())
    assert answer["licenses"][0].pop("tests") == []
    peers = PeerUsage(book.instance)
    await peers.take(json.dumps(answer).encode())
    with pytest.raises(TooManyTests):
        enter(Gatekeeper(book, peers, tests_per_hour=1), book, 2)
    assert book.tally((APP, "acme")).total(time.time()).tests == 1  # type: ignore[union-attr]
    rows = json.loads(book.render())["licenses"][0]["hours"]
    assert all(len(row) == 4 for row in rows), "an earlier version takes rows of four"


def test_a_terminal_shows_that_it_was_a_test() -> None:
    assert PullLog(style="text")._render_text(Record(status=200, test=True), 0.0).endswith("(test)")
