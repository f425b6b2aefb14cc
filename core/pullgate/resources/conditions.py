"""Conditions, as Kubernetes' API conventions have them: a transition time moves only with the status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from pullgate.clean_text import clean
from pullgate.resources.fields import Time

Status = Literal["True", "False", "Unknown"]

MESSAGE_LIMIT = 1024


class Condition(BaseModel):
    """One condition of a resource's status (meta/v1 Condition)."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    type: str
    status: Status
    reason: str
    message: str = ""
    observed_generation: int = 0
    last_transition_time: Time


def set_condition(
    conditions: Iterable[Condition],
    type_: str,
    status: Status,
    reason: str,
    message: str,
    *,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """`conditions` with `type_` as given, in its place or at the end; `message` is cleaned and cut."""
    kept = tuple(conditions)
    before = next((c for c in kept if c.type == type_), None)
    moved = now.replace(microsecond=0) if before is None or before.status != status else before.last_transition_time
    after = Condition(
        type=type_,
        status=status,
        reason=reason,
        message=clean(message)[:MESSAGE_LIMIT],
        observed_generation=generation,
        last_transition_time=moved,
    )
    if before is None:
        return (*kept, after)
    return tuple(after if c.type == type_ else c for c in kept)


def remove_condition(conditions: Iterable[Condition], *types: str) -> tuple[Condition, ...]:
    """`conditions` without those of `types`: Reconciling and Stalled stand only while they hold."""
    return tuple(c for c in conditions if c.type not in types)


def read_condition(document: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    """The condition of `type_` in a document's status as it stands there, or an empty one."""
    rows = (document.get("status") or {}).get("conditions") or ()
    return next((row for row in rows if row["type"] == type_), {})


def find_condition(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of `type_`, if it is there."""
    return next((c for c in conditions if c.type == type_), None)
