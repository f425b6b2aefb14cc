"""When an ImageTest runs, and what its status says: decided from values and the time alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.resources import ImageTest, parse_resource
from pullgate.upstream.probe import ImageResult, PlatformResult
from pullgate_operator.plan.image_test import (
    FIRST_RETRY,
    HISTORY_LIMIT,
    RETRY,
    STATUS_LIMIT,
    WAIT,
    Finished,
    ImageTestPlan,
    Problem,
    fit_results,
    plan_image_test,
    spread,
)

NOW = datetime(2026, 11, 24, 12, 10, tzinfo=UTC)
GOOD = ImageResult("quay.io/my-org/api:1", True, "sha256:" + "a" * 64, (PlatformResult("linux/amd64", True, "x"),), 9)
LACK = Problem("RegistryUnknown", "no Registry of app my-app is for quay.io/my-org/api", may_come=True)
BAD = ImageResult("quay.io/my-org/gone:1", False, reason="ManifestUnknown", message="is not there", hint="push it")


class World:
    """An ImageTest over time: each `plan` sees the status that the previous one wrote."""

    def __init__(self, **spec: Any) -> None:
        self.spec = {"images": ["quay.io/my-org/api:1"], **spec}
        self.status: dict[str, Any] = {}
        self.generation = 1
        self.finished: Finished | None = None

    def plan(self, now: datetime = NOW, *, running: bool = False, came: bool = False) -> ImageTestPlan:
        metadata = {"name": "release", "namespace": "my-app", "uid": "u", "generation": self.generation}
        head = {"apiVersion": "pullgate.dev/v1alpha1", "kind": "ImageTest", "metadata": metadata}
        resource = parse_resource({**head, "spec": self.spec, "status": self.status})
        assert isinstance(resource, ImageTest)
        planned = plan_image_test(resource, self.finished, running=running, now=now, came=came)
        self.status = json.loads(json.dumps(planned.plan.status))
        return planned

    def end(self, *results: ImageResult, at: datetime = NOW, problem: Problem | None = None) -> ImageTestPlan:
        """The plan after a run that began at `at` and completed two seconds later."""
        retry_at = at + RETRY if problem is not None else None
        self.finished = Finished(at, 2.0, self.generation, results, problem, retry_at)
        return self.plan(at + timedelta(seconds=2))

    def lack(self, at: datetime = NOW) -> ImageTestPlan:
        """The plan after a run that began at `at` and found a named resource missing."""
        retry_at = at + FIRST_RETRY
        self.finished = Finished(at, 0.0, self.generation, (), LACK, retry_at, patient=True)
        return self.plan(at)

    def conditions(self) -> dict[str, tuple[str, str]]:
        return {c["type"]: (c["status"], c["reason"]) for c in self.status["conditions"]}


def test_a_new_test_runs_at_once_and_says_so() -> None:
    world = World()
    planned = world.plan()
    assert planned.run
    assert world.conditions()["Reconciling"] == ("True", "Running")
    assert not world.plan(running=True).run


def test_a_run_that_passes_is_ready_and_runs_no_more() -> None:
    world = World()
    world.plan()
    planned = world.end(GOOD)
    assert world.conditions() == {
        "Complete": ("True", "Finished"),
        "Passed": ("True", "Passed"),
        "Ready": ("True", "Passed"),
    }
    assert world.status["summary"] == "1/1 passed"
    assert world.status["lastRun"]["duration"] == "2.0s"
    assert [event.reason for event in planned.plan.events] == ["Passed"]
    assert (planned.run, planned.plan.due) == (False, None)
    assert world.plan(NOW + timedelta(days=9)).plan.events == ()


def test_a_run_that_fails_is_stalled_with_the_reason_of_the_image() -> None:
    world = World()
    planned = world.end(GOOD, BAD)
    for type_ in ("Passed", "Ready"):
        assert world.conditions()[type_] == ("False", "ManifestUnknown")
    assert world.conditions()["Stalled"] == ("True", "ManifestUnknown")
    assert world.status["results"][0]["image"] == BAD.image, "what failed stands first"
    (event,) = planned.plan.events
    assert (event.type, event.reason) == ("Warning", "ManifestUnknown")
    assert event.message == "1/2 passed: quay.io/my-org/gone:1: is not there; push it"


def test_a_test_without_an_image_does_not_pass() -> None:
    world = World()
    world.end()
    assert world.conditions()["Passed"] == ("False", "NoImages")


def test_what_was_told_is_not_told_again() -> None:
    world = World()
    world.end(GOOD)
    before = world.status
    planned = world.plan(NOW + timedelta(minutes=1))
    assert (world.status, planned.plan.events) == (before, ())


def test_a_changed_spec_runs_again() -> None:
    world = World()
    world.end(BAD)
    world.generation = 2
    assert world.plan().run
    assert "Stalled" not in world.conditions()


def test_a_run_that_a_restart_cut_is_made_again() -> None:
    world = World()
    world.plan()
    assert world.plan(NOW + timedelta(minutes=5)).run  # another process: nothing runs, nothing has finished


def test_a_schedule_runs_again_in_time_and_a_little_spread() -> None:
    world = World(schedule="*/30 * * * *")
    planned = world.end(GOOD)
    due = planned.plan.due
    half = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
    assert due is not None
    assert half <= due <= half + timedelta(minutes=1)
    assert world.status["nextRunAt"] == due.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert not world.plan(due - timedelta(seconds=1)).run
    before = world.conditions()
    assert world.plan(due).run
    assert world.conditions() == before, "a run by schedule changes nothing before its end"
    world.end(BAD, at=due)
    assert world.conditions()["Passed"] == ("False", "ManifestUnknown")
    assert [run["passed"] for run in world.status["history"]] == [False, True]


def test_runs_that_were_missed_are_made_once() -> None:
    world = World(schedule="*/30 * * * *")
    world.end(GOOD)
    later = NOW + timedelta(days=3)
    assert world.plan(later).run
    planned = world.end(GOOD, at=later)
    assert planned.plan.due is not None
    assert planned.plan.due > later


def test_a_suspended_test_begins_no_run() -> None:
    world = World(suspend=True, schedule="@hourly")
    planned = world.plan()
    assert (planned.run, planned.plan.due) == (False, None)
    assert world.conditions()["Ready"] == ("Unknown", "Suspended")


def test_the_history_holds_ten_runs() -> None:
    world = World(schedule="@hourly")
    for hour in range(HISTORY_LIMIT + 3):
        world.end(GOOD, at=NOW + timedelta(hours=hour))
    assert len(world.status["history"]) == HISTORY_LIMIT
    assert world.status["history"][0] == world.status["lastRun"]


def test_a_run_that_cannot_be_made_says_why_and_is_tried_again() -> None:
    world = World()
    planned = world.end(problem=Problem("ConfigMapMissing", "there is no ConfigMap rendered"))
    assert world.conditions()["Ready"] == ("False", "ConfigMapMissing")
    assert world.conditions()["Stalled"] == ("True", "ConfigMapMissing")
    assert planned.plan.due == NOW + RETRY
    before = world.status
    assert world.plan(NOW + RETRY).run
    assert world.status == before, "a new try changes nothing before its end"
    world.end(GOOD, at=NOW + RETRY)
    assert world.conditions()["Ready"] == ("True", "Passed")


def test_a_test_that_lacks_what_it_names_waits_a_minute_and_is_then_told_as_it_is() -> None:
    world = World()
    assert world.plan().patient
    planned = world.lack()
    assert world.conditions() == {
        "Reconciling": ("True", "RegistryUnknown"),
        "Complete": ("False", "RegistryUnknown"),
        "Passed": ("Unknown", "RegistryUnknown"),
        "Ready": ("Unknown", "RegistryUnknown"),
    }
    assert "waiting: no Registry of app my-app is for quay.io" in str(world.status)
    assert (planned.run, planned.plan.due, planned.plan.events) == (False, NOW + FIRST_RETRY, ())
    before = world.status
    again = world.plan(NOW + FIRST_RETRY)
    assert (again.run, again.patient) == (True, True)
    world.lack(NOW + WAIT - timedelta(seconds=2))
    assert world.status == before, "it goes on waiting"
    last = world.plan(NOW + WAIT)
    assert (last.run, last.patient) == (True, False)
    assert world.status == before, "the last run decides"
    world.end(BAD, at=NOW + WAIT)
    assert world.conditions()["Stalled"] == ("True", "ManifestUnknown")


def test_the_wait_of_a_new_generation_begins_anew() -> None:
    world = World()
    world.plan()
    world.lack()
    world.generation = 2
    assert world.plan(NOW + WAIT * 2).patient
    world.lack(NOW + WAIT * 2)
    assert world.conditions()["Reconciling"] == ("True", "RegistryUnknown")


def test_a_new_leader_does_not_begin_the_wait_anew() -> None:
    world = World()
    world.plan()
    world.lack()
    world.finished = None
    planned = world.plan(NOW + WAIT)
    assert (planned.run, planned.patient) == (True, False)


def test_a_run_by_schedule_waits_too_and_a_stalled_test_does_not() -> None:
    world = World(schedule="*/30 * * * *")
    due = world.end(GOOD).plan.due
    assert due is not None
    assert world.plan(due).patient
    world.lack(due)
    assert world.conditions()["Reconciling"] == ("True", "RegistryUnknown")
    assert world.plan(due + WAIT).run
    world.end(BAD, at=due + WAIT)
    assert not world.plan(due + WAIT * 2).patient


def test_a_stalled_test_runs_again_when_what_it_lacked_has_come() -> None:
    world = World()
    world.end(BAD)
    assert not world.plan(NOW + timedelta(hours=1)).run
    later = NOW + timedelta(hours=2)
    planned = world.plan(later, came=True)
    assert (planned.run, planned.patient) == (True, True)
    assert "Stalled" not in world.conditions()
    assert not world.plan(later, running=True, came=True).run
    world.end(GOOD, at=later)
    assert world.conditions()["Ready"] == ("True", "Passed")


def test_two_runs_within_one_second_are_both_told() -> None:
    world = World()
    world.end(BAD)
    world.end(GOOD, at=NOW + timedelta(milliseconds=100))
    assert world.conditions()["Ready"] == ("True", "Passed")


@given(st.text(min_size=1), st.integers(0, 10**6), st.integers(60, 10**6))
def test_the_spread_is_bounded_and_always_the_same(uid: str, minutes: int, seconds: int) -> None:
    moment, period = NOW + timedelta(minutes=minutes), timedelta(seconds=seconds)
    found = spread(uid, moment, period)
    assert timedelta() <= found <= min(period / 10 + timedelta(seconds=1), timedelta(minutes=1))
    assert found == spread(uid, moment, period)


@pytest.mark.parametrize("passed", [True, False])
def test_the_results_of_a_thousand_images_fit_into_etcd(passed: bool) -> None:
    result = ImageResult(
        "r" * 500,
        passed,
        "sha256:" + "a" * 64,
        tuple(PlatformResult(f"linux/arch{n}", passed, "d") for n in range(32)),
        10**12,
        reason="" if passed else "UpstreamUnauthorized",
        message="m" * 1000,
        hint="h" * 1000,
    )
    rows, omitted = fit_results([result] * 1000)
    assert len(json.dumps(rows).encode()) < STATUS_LIMIT * 1.2
    assert len(rows) + omitted == 1000
