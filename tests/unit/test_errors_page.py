"""docs/errors.md shows every fault with every client; what it says is generated, so it is read back here."""

from __future__ import annotations

import pytest

from pullgate.faults import FAULTS
from tests.clients.errors_page import PAGE, clean
from tests.clients.scenarios import SCENARIOS, Scenario
from tests.support.clients import CLIENTS

NOT_MET_BY_A_PULL = {
    "LimitReached",  # its wait is up to a day, which skopeo sits out five minutes of; test_limits.py shows its words
    "TooManyTests",  # of a gate or an ImageTest, never of a customer; test_counted_apart.py shows its words
    "TokenExpired",  # the client renews its token and nobody sees it
    "PathInvalid",  # clients refuse such a name before they ask
    "ReferenceInvalid",
    "DigestInvalid",
    "ReadOnly",  # of a push
    "ProofPending",  # needs a search beyond 20 s; component/proxy/test_replicas.py shows its words
    "ShuttingDown",  # of a proxy that drains; another replica answers
    "Internal",  # of a defect
}


def test_every_fault_that_a_pull_can_meet_has_a_scenario() -> None:
    assert {scenario.reason for scenario in SCENARIOS} == set(FAULTS) - NOT_MET_BY_A_PULL


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[s.title for s in SCENARIOS])
def test_the_page_shows_each_fault_for_each_client(scenario: Scenario) -> None:
    page = PAGE.read_text()
    section = page.partition(f"## {scenario.reason}: {scenario.title}\n")[2].partition("\n## ")[0]
    for client in CLIENTS:
        assert f"\n{client}\n" in section, client


def test_what_differs_from_run_to_run_is_not_on_the_page() -> None:
    text = clean('time="2026-11-24T04:48:13Z" level=fatal msg="127.0.0.1:4711 sha256:' + "a" * 64 + '"')
    assert text == 'level=fatal msg="images.example.com sha256:aaaaaaaa…"'
    for ref in ('"ref": "{}"', "reason:Internal ref:{}]", "tell the vendor; ref {}"):
        assert clean(ref.format("a1dfef06f5e1829a")) == ref.format("…")
