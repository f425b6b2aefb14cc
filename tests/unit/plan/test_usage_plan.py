"""Usage in a status: told soon, then seldom, and never wrong for longer than a day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pullgate.licensing.usage import Counts, Usage
from pullgate.resources.license import KeyStatus, UsageStatus
from pullgate_operator.plan.usage import plan_usage

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
TEN = timedelta(minutes=10)
KEY = KeyStatus(id="k1", digest="sha256:" + "0" * 64, issued_at=NOW)


def used(pulls: int, when: datetime = NOW) -> Usage:
    return Usage(int(when.timestamp()), Counts(pulls, 100 * pulls, 0), {"k1": int(when.timestamp())})


def told(pulls: int, when: datetime = NOW) -> UsageStatus:
    planned = plan_usage(None, (KEY,), used(pulls, when), TEN, when)
    assert planned.usage is not None
    return planned.usage


def test_the_first_use_is_told_at_once_with_the_key_that_was_used() -> None:
    planned = plan_usage(None, (KEY,), used(1), TEN, NOW)
    assert planned.usage is not None
    assert (planned.usage.pulls24h, planned.usage.bytes24h, planned.usage.last_pull_at) == (1, 100, NOW)
    assert planned.usage.model_dump(mode="json", by_alias=True)["pulls24h"] == 1
    assert planned.keys[0].last_used_at == NOW
    assert planned.due == datetime(2026, 11, 24, 13, tzinfo=UTC)


def test_what_follows_is_told_after_the_interval_and_not_before() -> None:
    before, later = told(1), NOW + timedelta(minutes=3)
    planned = plan_usage(before, (KEY,), used(5, later), TEN, later)
    assert planned.usage == before
    assert planned.keys == (KEY,)
    assert planned.due == NOW + TEN
    planned = plan_usage(before, (KEY,), used(5, later), TEN, NOW + TEN)
    assert planned.usage is not None
    assert planned.usage.pulls24h == 5


def test_nothing_is_told_where_nothing_changed() -> None:
    key = KEY.model_copy(update={"last_used_at": NOW})
    before = told(1)
    planned = plan_usage(before, (key,), used(1), TEN, NOW + timedelta(hours=5))
    assert (planned.usage, planned.keys) == (before, (key,))


def test_what_no_proxy_tells_of_is_kept_for_its_day_and_then_counts_nothing() -> None:
    before, day = told(7), timedelta(days=1)
    planned = plan_usage(before, (KEY,), None, TEN, NOW + timedelta(hours=1))
    assert (planned.usage, planned.due) == (before, NOW + day)
    planned = plan_usage(before, (KEY,), None, TEN, NOW + day)
    assert planned.usage is not None
    assert (planned.usage.pulls24h, planned.usage.last_pull_at) == (0, NOW)
    assert plan_usage(planned.usage, (KEY,), None, TEN, NOW + 2 * day).due is None


def test_a_restarted_proxy_does_not_make_the_last_pull_older() -> None:
    planned = plan_usage(told(7), (KEY,), Usage(0, Counts(denied=1), {}), TEN, NOW + TEN)
    assert planned.usage is not None
    assert (planned.usage.last_pull_at, planned.usage.denied24h) == (NOW, 1)


def test_a_clock_that_was_set_back_stops_no_telling() -> None:
    planned = plan_usage(told(1, NOW + timedelta(days=300)), (KEY,), used(2), TEN, NOW)
    assert planned.usage is not None
    assert (planned.usage.pulls24h, planned.usage.counted_at) == (2, NOW)


def test_tests_are_told_apart_and_a_license_without_any_keeps_its_status_as_it_is() -> None:
    found = Usage(0, Counts(tests=40))
    planned = plan_usage(None, (KEY,), found, TEN, NOW)
    assert planned.usage is not None
    assert planned.usage.model_dump(mode="json", by_alias=True, exclude_none=True) == {
        "pulls24h": 0,
        "bytes24h": 0,
        "denied24h": 0,
        "tests24h": 40,
        "countedAt": "2026-11-24T12:30:00Z",
    }
    assert planned.keys == (KEY,)
    over = plan_usage(planned.usage, (KEY,), None, TEN, NOW + timedelta(days=1))
    assert over.usage is not None
    assert "tests24h" not in over.usage.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert "tests24h" not in told(1).model_dump(mode="json", by_alias=True, exclude_none=True)
