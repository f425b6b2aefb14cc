"""/status of an operator tells `doctor` whether its watch is alive, and the age of the last event."""

from __future__ import annotations

import pytest

from pullgate_cli.doctor_status import _judge
from pullgate_operator.status import WatchState, describe_status


@pytest.mark.parametrize(
    ("watch", "leads", "state", "words"),
    [
        (WatchState(True, 61.26), True, "ok", "leads; watch: alive, last event 61 s ago"),
        (WatchState(True, None), True, "ok", "leads; watch: alive, no event yet"),
        (WatchState(False, 7300, "0 of 3 kinds are watched"), True, "problem", "last event 2 h ago: 0 of 3 kinds"),
        (None, False, "ok", "stands by"),
    ],
)
def test_doctor_understands_each_state_of_the_watch(
    watch: WatchState | None, leads: bool, state: str, words: str
) -> None:
    findings = list(_judge("operator", "x", describe_status(leads=leads, watch=watch), ""))
    assert words in findings[-1].text
    assert findings[-1].state == state
