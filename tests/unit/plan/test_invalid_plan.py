"""A document that the API server took and Pullgate refuses says so itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pullgate.resources import InvalidResource, parse_resource
from pullgate.resources.parse import FieldError
from pullgate_operator.plan.invalid import plan_invalid
from tests.support.documents import license_

CRDS = Path(__file__).parents[3] / "deploy" / "crds"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def broken(status: object = None) -> tuple[dict[str, Any], InvalidResource]:
    document = license_(expiresAt="tomorrow")
    document["metadata"] |= {"generation": 3}
    document["status"] = status
    with pytest.raises(InvalidResource) as caught:
        parse_resource(document)
    return document, caught.value


def test_ready_is_false_and_names_the_field_and_the_fix() -> None:
    document, error = broken({"secrets": {"pull": "acme-pull"}})
    plan = plan_invalid(document, error, NOW)
    rows = {row["type"]: row for row in plan.status["conditions"]}
    assert (rows["Ready"]["status"], rows["Ready"]["reason"]) == ("False", "InvalidSpec")
    assert "spec.expiresAt" in rows["Ready"]["message"]
    assert rows["Stalled"]["status"] == "True"
    assert plan.status["secrets"] == {"pull": "acme-pull"}
    assert plan.status["observedGeneration"] == 3
    assert [event.reason for event in plan.events] == ["InvalidSpec"]


def test_it_is_told_once() -> None:
    document, error = broken()
    first = plan_invalid(document, error, NOW)
    document["status"] = first.status
    again = plan_invalid(document, error, NOW)
    assert (again.status, again.events) == (first.status, ())


def test_a_status_that_is_no_status_does_not_stop_it() -> None:
    document, error = broken({"conditions": [{"type": "Ready"}]})
    plan = plan_invalid(document, error, NOW)
    assert {row["type"] for row in plan.status["conditions"]} == {"Ready", "Stalled", "Valid"}


SHOWN = {"License": ["Valid"], "ImageTest": ["Complete", "Passed"], "Registry": []}


def shown_conditions(kind: str, status: object, passes: int = 2) -> dict[str, tuple[str, str]]:
    """The kind's conditions, after `passes` of the reconciler."""
    error = InvalidResource(kind, (FieldError(("spec", "images"), "is empty"),))
    document: dict[str, Any] = {
        "kind": kind,
        "metadata": {"generation": 3, "name": "x", "namespace": "n"},
        "spec": {},
        "status": status,
    }
    for _ in range(passes):
        document["status"] = plan_invalid(document, error, NOW).status
    conditions: list[dict[str, str]] = document["status"]["conditions"]
    rows = {row["type"]: (row["status"], row["reason"]) for row in conditions}
    return {type_: rows[type_] for type_ in SHOWN[kind]}


@pytest.mark.parametrize("kind", SHOWN)
def test_the_columns_of_kubectl_get_say_why_a_resource_that_was_never_valid_is_not(kind: str) -> None:
    assert shown_conditions(kind, None) == dict.fromkeys(SHOWN[kind], ("False", "InvalidSpec"))


@pytest.mark.parametrize("kind", SHOWN)
def test_the_columns_are_unknown_while_the_last_valid_spec_goes_on(kind: str) -> None:
    rows = [
        {
            "type": type_,
            "status": "True",
            "reason": "Valid",
            "message": "",
            "observedGeneration": 2,
            "lastTransitionTime": "2026-11-24T11:00:00Z",
        }
        for type_ in SHOWN[kind]
    ]
    assert shown_conditions(kind, {"conditions": rows}) == dict.fromkeys(SHOWN[kind], ("Unknown", "InvalidSpec"))


@pytest.mark.parametrize("kind", SHOWN)
def test_each_condition_that_kubectl_get_shows_of_a_kind_is_among_them(kind: str) -> None:
    """The CRD's columns are read from conditions; one that is not written is blank."""
    file = next(path for path in CRDS.glob("*.yaml") if f"kind: {kind}\n" in path.read_text())
    columns = set(re.findall(r'@\.type=="(\w+)"', file.read_text()))
    assert columns <= {*SHOWN[kind], "Ready", "Stalled"}
