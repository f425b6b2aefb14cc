"""A wall clock that was set is noticed, also one that went back before anybody looked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pullgate_operator.reconcile.clock import WatchedClock

START = datetime(2026, 11, 29, 12, tzinfo=UTC)


class Times:
    def __init__(self) -> None:
        self.passed = 0.0
        self.set_by = 0.0
        self.watched = WatchedClock(self.wall, lambda: self.passed)

    def wall(self) -> datetime:
        return START + timedelta(seconds=self.passed + self.set_by)


def test_time_that_passes_is_no_change() -> None:
    times = Times()
    times.passed = 86400.0
    times.set_by = 4.0
    assert times.watched() == START + timedelta(seconds=86404)
    assert times.watched.take_change() == 0


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_a_clock_that_was_set_is_told_once(seconds: float) -> None:
    times = Times()
    times.set_by = seconds
    assert times.watched.take_change() == 3600
    assert times.watched.take_change() == 0


@pytest.mark.parametrize("seconds", [3600.0, -3600.0])
def test_a_clock_that_went_there_and_back_is_told_if_anybody_read_it_meanwhile(seconds: float) -> None:
    times = Times()
    times.set_by = seconds
    times.watched()
    times.set_by = 0.0
    assert times.watched.take_change() == 3600
    assert times.watched.take_change() == 0
