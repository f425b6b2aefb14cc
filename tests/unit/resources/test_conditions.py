"""A transition time moves only with the status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pullgate.resources.conditions import find_condition, set_condition

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def test_a_transition_time_moves_only_with_the_status() -> None:
    rows = set_condition((), "Ready", "True", "Ready", "fine", generation=1, now=NOW)
    later = NOW + timedelta(hours=1)
    rows = set_condition(rows, "Ready", "True", "Ready", "finer", generation=2, now=later)
    found = find_condition(rows, "Ready")
    assert found is not None
    assert (found.message, found.observed_generation, found.last_transition_time) == ("finer", 2, NOW)
    rows = set_condition(rows, "Ready", "False", "Broken", "", generation=2, now=later)
    found = find_condition(rows, "Ready")
    assert found is not None
    assert found.last_transition_time == later


def test_other_conditions_keep_their_place() -> None:
    rows = set_condition((), "Ready", "True", "Ready", "", generation=1, now=NOW)
    rows = set_condition(rows, "Valid", "True", "Valid", "", generation=1, now=NOW)
    rows = set_condition(rows, "Ready", "False", "Broken", "", generation=1, now=NOW)
    assert [row.type for row in rows] == ["Ready", "Valid"]
