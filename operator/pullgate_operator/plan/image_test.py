"""When an ImageTest runs, and what its status says of a run."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pullgate.resources.conditions import MESSAGE_LIMIT
from pullgate.resources.fields import format_time
from pullgate.resources.image_test import ImageTest, RunStatus
from pullgate.resources.schedule import next_after
from pullgate.store.port import Key
from pullgate.upstream.probe import ImageResult
from pullgate_operator.plan.outcome import Conditions, Event, Plan, turned, without_empty

HISTORY_LIMIT = 10
STATUS_LIMIT = 900_000
"""Bytes of all results as JSON: etcd takes documents of 1.5 MiB, and a status is one of several parts."""
LONGEST_SPREAD = timedelta(minutes=1)
WAIT = timedelta(minutes=1)
"""After it a test that lacks what it names is Stalled: what is applied together comes in any order (kustomize's)."""
RETRY = timedelta(seconds=30)
"""After a run that could not be made: what it lacks may come."""
FIRST_RETRY = timedelta(seconds=5)
"""The same while the test waits."""
_TEXT_LIMITS = ((700, 240), (160, 0), (60, 0))
"""Characters of message and hint: the first pair with which all results fit."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a run could not be made."""

    reason: str
    message: str
    may_come: bool = False
    """True if the test names something that does not exist yet."""
    awaited: Key | None = None
    """The License that it waits for; None: anything else."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A completed run."""

    started_at: datetime
    seconds: float
    generation: int
    results: tuple[ImageResult, ...] = field(default=(), repr=False)
    problem: Problem | None = None
    retry_at: datetime | None = None
    """Set if there is a problem."""
    marks: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Image -> `Sources.mark` at its begin."""
    patient: bool = False
    """True if the run waited for something that does not exist yet. Once the wait is over, a new run replaces it."""


@dataclass(frozen=True, slots=True)
class ImageTestPlan:
    """A plan, and whether a run shall begin."""

    plan: Plan
    run: bool
    patient: bool
    """True if that run shall wait for what does not exist yet, and not report it as a failure."""


def plan_image_test(
    resource: ImageTest,
    finished: Finished | None,
    *,
    running: bool,
    now: datetime,
    came: bool = False,
    wait: timedelta = WAIT,
) -> ImageTestPlan:
    """Compute the status, and if a run is due. `finished`: this process's last run, perhaps not in the status yet.

    `came`: what the last run lacked exists now. `wait`: how long a test waits for what it names.
    """
    conditions = Conditions(resource.status.conditions, resource.metadata.generation, now)
    begun = conditions.find("Reconciling")
    if begun is not None and begun.observed_generation != resource.metadata.generation:
        conditions.drop("Reconciling")  # what waits now began to wait now
    status = resource.status.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    status["observedGeneration"] = resource.metadata.generation
    last = resource.status.last_run
    again = came
    if finished is not None and finished.generation == resource.metadata.generation:
        if finished.problem is not None:
            again = finished.patient and not _is_patient(conditions, wait)
            if not again:
                _put_problem(conditions, finished.problem, wait=finished.patient)
        elif not _is_told(finished, last):
            status |= _tell(finished)
            _put_outcome(conditions, finished)
            again = False
            last = RunStatus.model_validate(status["lastRun"])
            status["history"] = [status["lastRun"], *status.get("history", ())][:HISTORY_LIMIT]
    due = now if again and not resource.spec.suspend else _due(resource, finished, last, now)
    run = due is not None and due <= now and not running
    if (
        (run or running)
        and (again or last is None or last.generation != resource.metadata.generation)
        and not _lacking(finished, resource.metadata.generation)
    ):
        _put_running(conditions)
    if resource.spec.suspend and last is None:
        conditions.put("Ready", None, "Suspended", "no run begins; set spec.suspend to false")
    status.pop("nextRunAt", None)
    if resource.spec.schedule is not None and due is not None and not resource.spec.suspend:
        status |= {"nextRunAt": format_time(due)} if due > now else {"nextRunAt": _shown_next(resource, due)}
    plan = Plan(
        status={**status, "conditions": conditions.documents()},
        events=_events(resource, conditions),
        due=due if due is not None and due > now else None,
    )
    return ImageTestPlan(plan, run, _is_patient(conditions, wait))


def _is_told(finished: Finished, last: RunStatus | None) -> bool:
    """True if the status reports this run or a later one. Two runs may begin within one second."""
    if last is None:
        return False
    run = RunStatus.model_validate(_tell(finished)["lastRun"])
    return run.started_at < last.started_at or run == last


def _lacking(finished: Finished | None, generation: int) -> bool:
    return finished is not None and finished.generation == generation and finished.problem is not None


def _is_patient(conditions: Conditions, wait: timedelta) -> bool:
    """True while the wait for what does not exist yet goes on."""
    begun = conditions.find("Reconciling")
    if begun is None:
        return conditions.find("Stalled") is None
    return timedelta() <= conditions.now - begun.last_transition_time < wait


def _shown_next(resource: ImageTest, due: datetime) -> str:
    before = resource.status.next_run_at
    return format_time(before if before is not None else due)


# --- when --------------------------------------------------------------------------------------------------------


def _due(resource: ImageTest, finished: Finished | None, last: RunStatus | None, now: datetime) -> datetime | None:
    """When the next run begins; None: never, as things are."""
    spec, generation = resource.spec, resource.metadata.generation
    if spec.suspend:
        return None
    if finished is not None and finished.generation == generation and finished.problem is not None:
        return finished.retry_at
    if last is None or last.generation != generation:
        return now  # also a run that a restart cut: only one that ended is in the status
    if spec.schedule is None:
        return None
    following = next_after(spec.schedule, spec.time_zone, last.started_at)
    after = next_after(spec.schedule, spec.time_zone, following)
    return following + spread(resource.metadata.uid, following, after - following)


def spread(uid: str, moment: datetime, period: timedelta) -> timedelta:
    """How much later than its schedule a run begins: the same for one test and one time, so that all do not at once."""
    share = int.from_bytes(hashlib.blake2b(f"{uid} {moment.isoformat()}".encode(), digest_size=4).digest()) / 2**32
    return timedelta(seconds=round(min(period / 10, LONGEST_SPREAD).total_seconds() * share))


# --- what --------------------------------------------------------------------------------------------------------


def _put_running(conditions: Conditions) -> None:
    conditions.drop("Stalled")
    conditions.put("Reconciling", True, "Running", "the first run of this generation is under way")
    conditions.put("Complete", False, "Running", "")
    conditions.put("Passed", None, "Running", "")
    conditions.put("Ready", None, "Running", "")


def _put_problem(conditions: Conditions, problem: Problem, *, wait: bool) -> None:
    if wait:
        message = f"waiting: {problem.message}"
        conditions.put("Reconciling", True, problem.reason, message)
        conditions.put("Complete", False, problem.reason, message)
        conditions.put("Passed", None, problem.reason, message)
        conditions.put("Ready", None, problem.reason, message)
        return
    conditions.drop("Reconciling")
    conditions.put("Complete", False, problem.reason, problem.message)
    conditions.put("Passed", False, problem.reason, problem.message)
    conditions.put("Ready", False, problem.reason, problem.message)
    conditions.put("Stalled", True, problem.reason, problem.message)


def _put_outcome(conditions: Conditions, finished: Finished) -> None:
    """kstatus: Stalled is Failed, so Flux and Argo CD stop at it."""
    reason, message = describe_outcome(finished.results)
    passed = reason == "Passed"
    conditions.drop("Reconciling")
    conditions.put("Complete", True, "Finished", summarise(finished.results))
    conditions.put("Passed", passed, reason, message)
    conditions.put("Ready", passed, reason, message)
    if passed:
        conditions.drop("Stalled")
    else:
        conditions.put("Stalled", True, reason, message)


def summarise(results: Sequence[ImageResult]) -> str:
    """`11/12 passed`."""
    return f"{sum(result.passed for result in results)}/{len(results)} passed"


def describe_outcome(results: Sequence[ImageResult]) -> tuple[str, str]:
    """Reason and message of all together: the most frequent reason of those that failed, and the first of it."""
    failed = [result for result in results if not result.passed]
    if not results:
        return "NoImages", "there is no image to be tested"
    notice = next((f"; {result.notice}" for result in results if result.notice), "")
    if not failed:
        return "Passed", f"{summarise(results)}{notice}"[:MESSAGE_LIMIT]
    reason, _ = Counter(result.reason for result in failed).most_common(1)[0]
    first = next(result for result in failed if result.reason == reason)
    more = f"; and {len(failed) - 1} more" if len(failed) > 1 else ""
    hint = f"; {first.hint}" if first.hint else ""
    return reason, f"{summarise(results)}: {first.image}: {first.message}{hint}{more}{notice}"[:MESSAGE_LIMIT]


def _tell(finished: Finished) -> dict[str, Any]:
    results = finished.results
    passed = bool(results) and all(result.passed for result in results)
    run = {
        "startedAt": format_time(finished.started_at.replace(microsecond=0)),
        "duration": _seconds(finished.seconds),
        "generation": finished.generation,
        "passed": passed,
        "summary": summarise(results),
    }
    rows, omitted = fit_results(results)
    return {"summary": summarise(results), "lastRun": run, "results": rows, "omitted": omitted}


def fit_results(results: Sequence[ImageResult]) -> tuple[list[dict[str, Any]], int]:
    """Rows for a status that etcd takes, those that failed first; and how many that passed were left out."""
    ordered = sorted(results, key=lambda result: result.passed)
    rows: list[dict[str, Any]] = []
    for message, hint in _TEXT_LIMITS:
        rows = [_row(result, message, hint) for result in ordered]
        if _size(rows) <= STATUS_LIMIT:
            return rows, 0
    kept, room = 0, STATUS_LIMIT
    for row in rows:
        room -= _size(row) + 2
        if room < 0:
            break
        kept += 1
    return rows[:kept], len(rows) - kept


def _row(result: ImageResult, message: int, hint: int) -> dict[str, Any]:
    platforms = list(dict.fromkeys(p.platform for p in result.platforms if p.platform and p.digest))[:32]
    return {
        "image": result.image,
        "passed": result.passed,
        **without_empty(
            {
                "reason": result.reason or None,
                "message": (result.message or result.notice)[:message] or None,
                "hint": result.hint[:hint] or None,
                "platforms": platforms or None,
                "digest": result.digest or None,
                "size": result.size or None,
                "duration": _seconds(result.duration),
            }
        ),
    }


def _size(value: object) -> int:
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds >= 1 else f"{seconds * 1000:.0f}ms"


def _events(resource: ImageTest, conditions: Conditions) -> tuple[Event, ...]:
    passed = turned(resource.status.conditions, conditions, "Passed")
    if passed is None or passed.status == "Unknown":
        return ()
    return (Event("Normal" if passed.status == "True" else "Warning", passed.reason, passed.message),)
