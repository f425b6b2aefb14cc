"""A document that the API server took and Pullgate refuses says so itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pullgate.resources import InvalidResource, parse_resource
from pullgate_operator.plan.invalid import plan_invalid
from tests.support.documents import license_

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
    assert {row["type"] for row in plan.status["conditions"]} == {"Ready", "Stalled"}
