"""Schedules are due when cron would run them, also where the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.resources.schedule import InvalidSchedule, check_schedule, check_zone, next_after

BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "zone", "moment", "due"),
    [
        ("*/30 * * * *", "UTC", "2026-11-24T12:00:01", "2026-11-24T12:30:00"),
        ("*/30 * * * *", "UTC", "2026-11-24T12:30:00", "2026-11-24T13:00:00"),
        ("0 9 * * MON-FRI", BERLIN, "2026-11-27T12:00:00", "2026-11-30T08:00:00"),
        ("@daily", BERLIN, "2026-07-01T12:00:00", "2026-07-01T22:00:00"),
        ("30 2 * * *", BERLIN, "2026-03-28T12:00:00", "2026-03-29T01:00:00"),  # 02:30 does not exist: at 03:00
        ("30 2 * * *", BERLIN, "2026-10-24T12:00:00", "2026-10-25T00:30:00"),  # 02:30 comes twice: once
        ("30 2 * * *", BERLIN, "2026-10-25T00:30:00", "2026-10-26T01:30:00"),
        ("0 0 29 2 *", "UTC", "2026-11-24T12:00:00", "2028-02-29T00:00:00"),
    ],
)
def test_it_is_due_when_cron_would_run_it(schedule: str, zone: str, moment: str, due: str) -> None:
    assert next_after(schedule, zone, at(moment)) == at(due)


@given(st.integers(0, 10 * 365 * 24 * 60), st.sampled_from(["UTC", BERLIN, "America/New_York"]))
def test_it_is_always_later_and_never_by_more_than_its_period_and_a_changed_clock(minutes: int, zone: str) -> None:
    moment = at("2025-01-01T00:00:00") + timedelta(minutes=minutes)
    due = next_after("15 * * * *", zone, moment)
    assert moment < due <= moment + timedelta(hours=2)


@pytest.mark.parametrize("schedule", ["", "* * * *", "61 * * * *", "0 0 31 2 *", "@often", "a b c d e", "* * * * * *"])
def test_what_is_no_schedule_is_refused(schedule: str) -> None:
    assert check_schedule(schedule)
    with pytest.raises(InvalidSchedule):
        next_after(schedule, "UTC", at("2026-11-24T12:00:00"))


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime"])
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    assert check_zone(zone)
    assert check_zone("Europe/Berlin") is None
