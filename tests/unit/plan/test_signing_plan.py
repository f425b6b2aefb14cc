"""Pullgate's own keys: replaced daily, and none before it has to be."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

from pullgate.providers.handoff import TokenKey
from pullgate_operator.plan.signing import OUTAGE, ROTATION, TAIL, plan_token_keys

NOW = datetime(2026, 11, 24, tzinfo=UTC)
TOKEN_LIFETIME = timedelta(minutes=5)


def plan(keys: tuple[TokenKey, ...], now: datetime) -> tuple[tuple[TokenKey, ...], datetime]:
    """The keys from `now` on."""
    return plan_token_keys(keys, now, lambda: secrets.token_bytes(32))


def test_a_key_is_made_where_there_is_none_and_stays_for_a_day() -> None:
    keys, due = plan((), NOW)
    assert len(keys) == 1
    assert due == NOW + ROTATION
    assert plan(keys, NOW + ROTATION - timedelta(seconds=1))[0] == keys


def test_a_replaced_key_verifies_as_long_as_its_tokens_live_and_then_goes() -> None:
    first, _ = plan((), NOW)
    second, due = plan(first, NOW + ROTATION)
    assert [k.id for k in second][1] == first[0].id
    assert second[1].not_after == NOW + ROTATION + TAIL == due
    assert TAIL > TOKEN_LIFETIME
    third, _ = plan(second, due)
    assert [k.id for k in third] == [second[0].id]


def test_without_an_operator_the_newest_key_works_for_long() -> None:
    keys, _ = plan((), NOW)
    assert keys[0].not_after == NOW + OUTAGE
    replaced, _ = plan(keys, NOW + OUTAGE)
    assert len(replaced) == 1


def test_a_key_from_the_future_is_replaced() -> None:
    keys, _ = plan((), NOW + timedelta(days=400))
    replaced, _ = plan(keys, NOW)
    assert {k.id for k in replaced} > {keys[0].id}
    again, due = plan(replaced, NOW + timedelta(seconds=1))
    assert [k.id for k in again] == [k.id for k in replaced], "it is replaced once"
    assert due > NOW + timedelta(seconds=1)
