"""Counting by the hour: what is older than a day is forgotten, whatever the clock does."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.licensing.usage import HOUR, HOURS, KEY_LIMIT, Counts, Tally, add_up, read_tally

NOW = 1_764_000_000.0
ONE = Counts(pulls=1, bytes=10, denied=2, tests=3)


def test_what_is_older_than_a_day_is_forgotten() -> None:
    tally = Tally()
    tally.count(NOW, ONE)
    assert tally.total(NOW + (HOURS - 1) * HOUR) == ONE
    assert tally.total(NOW + HOURS * HOUR) == Counts()
    tally.count(NOW + 1000 * HOUR, ONE)
    assert tally.total(NOW + 1000 * HOUR) == ONE


def test_a_clock_that_is_set_back_loses_nothing_of_the_day() -> None:
    tally = Tally()
    tally.count(NOW, ONE)
    tally.count(NOW - 3 * HOUR, ONE)
    assert tally.total(NOW - 3 * HOUR) == ONE + ONE
    tally.count(NOW - 1000 * HOUR, ONE)  # of no hour that is kept
    assert tally.total(NOW) == ONE + ONE


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 5)), max_size=60), st.integers(0, 100))
def test_a_total_is_the_sum_of_the_last_24_hours(events: list[tuple[int, int]], extra: int) -> None:
    tally = Tally()
    for hour, pulls in sorted(events):
        tally.count(hour * HOUR, Counts(pulls))
    now = max((hour for hour, _ in events), default=0) + extra
    assert tally.total(now * HOUR).pulls == sum(pulls for hour, pulls in events if hour > now - HOURS)


def test_a_tally_survives_its_document() -> None:
    tally = Tally()
    tally.count(NOW, ONE, "k1")
    tally.count(NOW - HOUR, ONE, "k2")
    read = read_tally(json.loads(json.dumps(tally.document())))
    assert read.document() == tally.document()
    assert add_up([tally, read], NOW).counts == ONE + ONE + ONE + ONE


@pytest.mark.parametrize("hours", [[["x", 1, 1, 1]], [[1, -1, 0, 0]], [[1, 1]], [[1, 2**70, 0, 0]], 7])
def test_a_document_that_is_no_tally_is_refused(hours: object) -> None:
    with pytest.raises((ValueError, TypeError, OverflowError)):
        read_tally({"lastPull": 0, "hours": hours, "keys": {}})


def test_the_keys_of_a_tally_are_bounded_and_the_latest_are_kept() -> None:
    tally = Tally()
    for number in range(KEY_LIMIT + 3):
        tally.count(NOW + number, ONE, f"k{number}")
    assert len(tally.key_used) == KEY_LIMIT
    assert f"k{KEY_LIMIT + 2}" in tally.key_used
