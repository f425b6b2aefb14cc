"""What a resource's status says when its document cannot be read: the API server took it, Pullgate does not."""

from __future__ import annotations

from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from pullgate.resources.conditions import Condition
from pullgate.resources.parse import InvalidResource
from pullgate.store.port import Document
from pullgate_operator.plan.outcome import Conditions, Event, Plan, turned

REASON = "InvalidSpec"
_CONDITIONS = TypeAdapter(tuple[Condition, ...])


def plan_invalid(document: Document, error: InvalidResource, now: datetime) -> Plan:
    """Ready=False and Stalled=True (kstatus: Failed), naming field and fix; what was made of it before goes on."""
    status = document.get("status") or {}
    before = _read_conditions(status.get("conditions"))
    generation = int(document["metadata"].get("generation", 0))
    conditions = Conditions(before, generation, now)
    words = "; ".join(str(each) for each in error.errors)
    conditions.put("Ready", False, REASON, f"{words}; what was valid before goes on")
    conditions.put("Stalled", True, REASON, words)
    turn = turned(before, conditions, "Ready")
    return Plan(
        status={**status, "observedGeneration": generation, "conditions": conditions.documents()},
        events=(Event("Warning", REASON, words),) if turn is not None else (),
    )


def _read_conditions(rows: object) -> tuple[Condition, ...]:
    try:
        return _CONDITIONS.validate_python(rows or ())
    except ValidationError:
        return ()  # they are what is invalid
