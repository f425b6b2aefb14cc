"""Alerts and dashboard speak of metrics, labels and reasons that the code has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from pullgate.faults import FAULTS
from pullgate_operator.metrics import Metrics as OperatorMetrics
from pullgate_proxy.observe.metrics import Metrics
from pullgate_proxy.request.parse import Kind
from tests.support.kustomize import DEPLOY

SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}

NO_FAULTS = {"Ok", "ClientGone"}
"""Outcomes of a request that are none of the faults table."""


def series() -> dict[str, set[str]]:
    """Name -> labels of every series that the code exposes."""
    found: dict[str, set[str]] = {}
    for metric in (*vars(Metrics()).values(), *vars(OperatorMetrics()).values()):
        if isinstance(metric, MetricWrapperBase):
            for suffix in SUFFIXES[str(metric._type)]:
                found[metric._name + suffix] = set(metric._labelnames) | ({"le"} if suffix == "_bucket" else set())
    return found


def alerts() -> dict[str, dict[str, Any]]:
    resource = yaml.safe_load((DEPLOY / "components/monitoring/rules.yaml").read_text())
    return {rule["alert"]: rule for group in resource["spec"]["groups"] for rule in group["rules"]}


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DEPLOY / "components/dashboard/pullgate.json").read_text())
    return loaded


def expressions() -> Iterator[tuple[str, str]]:
    """Pairs of an alert's name or a panel's title, and a PromQL expression."""
    for name, rule in alerts().items():
        yield name, rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def matchers(expression: str) -> Iterator[tuple[str, str, list[str]]]:
    """Series, label and values of every matcher in braces."""
    for name, inside in re.findall(r"(pullgate_\w+)\{([^}]*)\}", expression):
        for label, values in re.findall(r'(\w+)(?:=|!=|=~|!~)"([^"]*)"', inside):
            yield name, label, values.split("|")


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_an_expression_names_series_and_labels_that_are_exposed(where: str, expression: str) -> None:
    known = series()
    named = set(re.findall(r"pullgate_\w+", expression))
    assert named, where
    assert named <= set(known)
    for name, label, _ in matchers(expression):
        assert label in known[name]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_an_expression_names_outcomes_that_there_are(where: str, expression: str) -> None:
    for _, label, values in matchers(expression):
        if label == "reason":
            assert set(values) <= set(FAULTS) | NO_FAULTS, where
        if label == "kind":
            assert set(values) <= set(Kind), where


def test_every_series_is_on_the_dashboard() -> None:
    shown = " ".join(target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ()))
    for name in series():
        assert name in shown or name.endswith(("_sum", "_count")), name


def test_what_there_is_not_is_not_said_to_fail() -> None:
    """A proxy without a disk or an object store has no such series: 0 is an alert."""
    page = Metrics().render().decode()
    assert "pullgate_known_resources" in page
    for name in ("pullgate_blob_cache_usable", "pullgate_object_store_usable"):
        assert name in series()
        assert name not in page


def test_the_first_500_is_an_increase() -> None:
    """PromQL sees no increase in a series whose first sample is 1, so each series starts at 0."""
    page = Metrics().render().decode()
    for kind in (*Kind, "other"):
        assert f'pullgate_requests_total{{kind="{kind}",reason="Internal",status="500"}} 0.0' in page


def test_an_alert_says_what_is_and_the_next_step() -> None:
    for rule in alerts().values():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_panels_stand_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(ids)) == len(ids)
