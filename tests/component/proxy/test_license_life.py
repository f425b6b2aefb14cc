"""A license's life takes effect at the next request, tokens included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pullgate.licensing.keys import key_digest, key_id, new_key
from pullgate.store.port import Change, Key
from pullgate_proxy.state.watch import apply_change
from tests.support.catalog import WORKER
from tests.support.gate import APP, Gate, basic, license_

PATH = f"/v2/proxy/{APP}/upstream/{WORKER}/manifests/1.0.0"


async def token(gate: Gate, key: str) -> str:
    headers = {"Authorization": basic("acme", key)}
    async with gate.session.get(f"{gate.url}/token?scope=repository:x:pull", headers=headers) as response:
        return str((await response.json())["token"])


async def with_token(gate: Gate, bearer: str) -> Any:
    return await gate.get(PATH, headers={"Authorization": f"Bearer {bearer}"})


def at(**offset: float) -> str:
    return (datetime.now(UTC) + timedelta(**offset)).isoformat(timespec="microseconds").replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        (
            {"suspended": {"reason": "invoice 77 unpaid"}},
            "LicenseSuspended",
            "license acme is suspended: invoice 77 unpaid",
        ),
        ({"expiresAt": "2026-10-01T00:00:00Z"}, "LicenseExpired", "license acme expired on 2026-10-01"),
        ({"notBefore": "2090-01-02T00:00:00Z"}, "LicenseNotYetValid", "license acme is not valid before 2090-01-02"),
    ],
)
async def test_what_ends_a_license_ends_its_key_and_its_tokens(
    gate: Gate, spec: dict[str, Any], reason: str, words: str
) -> None:
    key = gate.key("acme")
    bearer = await token(gate, key)
    assert (await with_token(gate, bearer)).status == 200
    await gate.apply(license_("acme", **spec))
    refused = await gate.until_status(PATH, key, 403)
    assert (refused.fault, refused.code) == (reason, "DENIED")
    assert refused.message.startswith(words)
    assert refused.reason == f"Forbidden: {words}"
    assert (await with_token(gate, bearer)).fault == reason
    assert (gate.records()[-1]["license"], gate.records()[-1]["reason"]) == ("acme", reason)
    await gate.apply(license_("acme"))
    await gate.until_status(PATH, key, 200)
    assert (await with_token(gate, bearer)).status == 200


async def test_a_license_expires_on_time_without_any_change(gate: Gate) -> None:
    await gate.apply(license_("brief", expiresAt=at(seconds=1.5)))
    key = gate.key("brief")
    assert (await gate.get(PATH, key)).status == 200
    assert (await gate.until_status(PATH, key, 403)).fault == "LicenseExpired"


async def test_a_deleted_licenses_key_is_unknown_and_its_tokens_are_worthless(gate: Gate) -> None:
    key = gate.key("acme")
    bearer = await token(gate, key)
    await gate.delete("License", "acme")
    assert (await gate.until_status(PATH, key, 403)).fault == "KeyUnknown"
    assert (await with_token(gate, bearer)).fault == "KeyUnknown"


async def test_a_rotated_key_works_for_the_overlap_and_is_then_called_replaced(gate: Gate) -> None:
    old = gate.key("acme")
    document = license_("acme", keys={"overlap": "1s"})
    document["metadata"]["annotations"] = {"pullgate.dev/rotate-key": "once"}
    await gate.apply(document)
    await gate.until(lambda: gate.key("acme") != old)
    new = gate.key("acme")
    assert (await gate.until_status(PATH, new, 200)).status == 200
    assert (await gate.until_status(PATH, old, 403)).fault == "KeyRotated"
    assert (await gate.get(PATH, new)).status == 200


async def test_extending_a_license_needs_no_new_key(gate: Gate) -> None:
    await gate.apply(license_("acme", expiresAt="2026-10-01T00:00:00Z"))
    key = gate.key("acme")
    await gate.until_status(PATH, key, 403)
    await gate.apply(license_("acme", expiresAt="2090-01-01T00:00:00Z"))
    await gate.until_status(PATH, key, 200)
    assert gate.key("acme") == key


async def test_a_login_with_an_ended_license_says_so_in_a_401_that_clients_print(gate: Gate) -> None:
    await gate.apply(license_("acme", expiresAt="2026-10-01T00:00:00Z"))
    key = gate.key("acme")
    await gate.until_status(PATH, key, 403)
    answer = await gate.get("/token?service=x", key)
    assert (answer.status, answer.fault) == (401, "LicenseExpired")
    assert answer.message.startswith("license acme expired on 2026-10-01")
    scoped = await gate.get("/token?service=x&scope=repository:a:pull", key)
    assert scoped.status == 200


async def test_an_unknown_key_is_401_at_a_login_and_403_on_a_pull(gate: Gate) -> None:
    key = new_key()
    login = await gate.get("/token?service=x", key)
    assert (login.status, login.fault, login.code) == (401, "KeyUnknown", "UNAUTHORIZED")
    assert (await with_token(gate, await token(gate, key))).fault == "KeyUnknown"
    assert (await gate.get(PATH, key)).status == 403


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("hunter2", "the password is not a license key: these begin with pgk_"),
        ("pgk_short", "the license key's check digits are wrong: it was cut or mistyped"),
    ],
)
async def test_a_malformed_key_is_told_apart_from_a_wrong_one(gate: Gate, key: str, words: str) -> None:
    answer = await gate.get(PATH, key)
    assert (answer.status, answer.fault) == (401, "KeyMalformed")
    assert answer.message.startswith(words)
    assert f'error="{words}' in answer.headers["WWW-Authenticate"]


async def test_an_overlap_that_is_shortened_ends_a_key_that_was_replaced_before(gate: Gate) -> None:
    leaked = gate.key("acme")
    document = license_("acme")
    document["metadata"]["annotations"] = {"pullgate.dev/rotate-key": "once"}
    await gate.apply(document)
    await gate.until(lambda: gate.key("acme") != leaked)
    assert (await gate.get(PATH, leaked)).status == 200
    document["spec"]["keys"] = {"overlap": "0s"}
    await gate.apply(document)
    assert (await gate.until_status(PATH, leaked, 403)).fault == "KeyRotated"


async def test_a_revoked_key_and_its_tokens_are_refused_at_once_by_name(gate: Gate) -> None:
    leaked = gate.key("acme")
    bearer = await token(gate, leaked)
    id_ = key_id(key_digest(leaked))
    document = license_("acme", keys={"revoked": [id_]})
    document["metadata"]["annotations"] = {f"pullgate.dev/revoked-{id_}": "found on a forum"}
    await gate.apply(document)
    refused = await gate.until_status(PATH, leaked, 403)
    assert (refused.fault, refused.code) == ("KeyRevoked", "DENIED")
    await gate.until(lambda: gate.key("acme") != leaked)
    assert (await gate.until_status(PATH, gate.key("acme"), 200)).status == 200
    await gate.until_message(PATH, leaked, "this license key was revoked on ")  # the day is in the status
    refused = await with_token(gate, bearer)
    assert refused.fault == "KeyRevoked"
    assert refused.message.startswith("this license key was revoked on ")
    assert "found on a forum" in refused.message
    assert gate.records()[-1]["key"] == id_


async def test_a_revoked_key_is_refused_before_an_operator_saw_it(gate: Gate) -> None:
    """Each proxy reads the spec itself."""
    key = gate.key("acme")
    document = await gate.store.get(Key("License", APP, "acme"))
    assert document is not None
    spec = {**document["spec"], "keys": {"revoked": [key_id(key_digest(key))]}}
    apply_change(Change(Key("License", APP, "acme"), {**document, "spec": spec}), gate.proxy.snapshot)
    refused = await gate.get(PATH, key)
    assert (refused.fault, refused.message.partition(";")[0]) == ("KeyRevoked", "this license key was revoked")
