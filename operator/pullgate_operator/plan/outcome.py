"""The result of a plan, the same for every kind of resource."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pullgate.resources.conditions import Condition, Status, find_condition, remove_condition, set_condition
from pullgate.store.port import Document


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell people."""

    type: str
    """Normal or Warning."""
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The desired state; if it is so already, applying it writes nothing."""

    status: Mapping[str, Any]
    secrets: tuple[Document, ...] = field(default=(), repr=False)
    """Secrets that shall exist as given."""
    unwanted: tuple[tuple[str, str], ...] = ()
    """Namespace and name of Secrets that shall not exist."""
    events: tuple[Event, ...] = ()
    due: datetime | None = None
    """When to plan again, even if nothing changes."""


@dataclass(slots=True)
class Conditions:
    """Conditions being decided for one generation at one time."""

    rows: tuple[Condition, ...]
    generation: int
    now: datetime

    def put(self, type_: str, status: bool | None, reason: str, message: str = "") -> None:
        """Set one; None is Unknown."""
        word: Status = "Unknown" if status is None else "True" if status else "False"
        self.rows = set_condition(self.rows, type_, word, reason, message, generation=self.generation, now=self.now)

    def drop(self, *types: str) -> None:
        """Remove those that stand only while they hold."""
        self.rows = remove_condition(self.rows, *types)

    def find(self, type_: str) -> Condition | None:
        """One of them."""
        return find_condition(self.rows, type_)

    def documents(self) -> list[dict[str, Any]]:
        """As they stand in a status."""
        return [row.model_dump(mode="json", by_alias=True) for row in self.rows]


def turned(before: Iterable[Condition], after: Conditions, type_: str) -> Condition | None:
    """The condition of `type_` if its status or reason is another than before."""
    old, new = find_condition(before, type_), after.find(type_)
    if new is None or (old is not None and (old.status, old.reason) == (new.status, new.reason)):
        return None
    return new


def without_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields without those that are None."""
    return {name: value for name, value in fields.items() if value is not None}
