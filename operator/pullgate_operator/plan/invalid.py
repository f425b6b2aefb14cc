"""The status of a resource that the API server accepts and Pullgate does not."""

from __future__ import annotations

from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from pullgate.resources.conditions import Condition, find_condition
from pullgate.resources.parse import InvalidResource
from pullgate.store.port import Document
from pullgate_operator.plan.outcome import Conditions, Event, Plan, turned

REASON = "InvalidSpec"
_SHOWN = {"License": ("Valid",), "ImageTest": ("Complete", "Passed")}
"""Conditions of each kind, beside Ready, that `kubectl get` shows and `kubectl wait` waits for."""
_CONDITIONS = TypeAdapter(tuple[Condition, ...])


def plan_invalid(document: Document, error: InvalidResource, now: datetime) -> Plan:
    """Compute the conditions: Ready=False and Stalled=True (kstatus: Failed) name the field and the fix.

    The kind's other conditions follow: False if it was never valid, Unknown while the last valid spec goes on.
    """
    status = document.get("status") or {}
    before = _read_conditions(status.get("conditions"))
    generation = int(document["metadata"].get("generation", 0))
    conditions = Conditions(before, generation, now)
    words = "; ".join(str(each) for each in error.errors)
    conditions.put("Ready", False, REASON, f"{words}; what was valid before goes on")
    conditions.put("Stalled", True, REASON, words)
    for type_ in _SHOWN.get(str(document.get("kind")), ()):
        conditions.put(type_, _judge(before, type_), REASON, words)
    turn = turned(before, conditions, "Ready")
    return Plan(
        status={**status, "observedGeneration": generation, "conditions": conditions.documents()},
        events=(Event("Warning", REASON, words),) if turn is not None else (),
    )


def _judge(before: tuple[Condition, ...], type_: str) -> bool | None:
    """False for a resource that was never valid; else None, and so again at each later pass."""
    old = find_condition(before, type_)
    never_valid = old is None or (old.status, old.reason) == ("False", REASON)
    return False if never_valid else None


def _read_conditions(rows: object) -> tuple[Condition, ...]:
    try:
        return _CONDITIONS.validate_python(rows or ())
    except ValidationError:
        return ()  # they are what is invalid
