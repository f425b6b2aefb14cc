"""A domain leads to the Registry that the operator's record names, and to no other that lists it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pullgate.policy.tenancy import parse_networks
from pullgate.providers.credentials import Credentials
from pullgate.providers.domain_claim import DomainClaim, encode_claim
from pullgate.providers.handoff import Handoff, encode_handoff
from pullgate.store.port import Change, Document, Key
from pullgate_proxy.state.snapshot import Snapshot
from pullgate_proxy.state.watch import apply_change

DOMAIN = "images.myapp.com"
SINCE = datetime(2026, 11, 24, tzinfo=UTC)


def registry(namespace: str, uid: str, created: str, listed: tuple[str, ...] = (DOMAIN,), **status: Any) -> Document:
    meta = {"name": "quay", "namespace": namespace, "uid": uid, "creationTimestamp": created}
    spec = {"type": "Quay", "credentials": {"anonymous": {}}, "domains": list(listed)}
    return {"apiVersion": "pullgate.dev/v1alpha1", "kind": "Registry", "metadata": meta, "spec": spec, "status": status}


OLD = registry("old", "1", "2020-01-01T00:00:00Z")
YOUNG = registry("young", "2", "2026-01-01T00:00:00Z")


def put(snapshot: Snapshot, *documents: Document) -> None:
    for document in documents:
        apply_change(Change(Key.of(document), document), snapshot)


def record(namespace: str = "young", uid: str = "2") -> Document:
    return encode_claim(DomainClaim(DOMAIN, namespace, "quay", uid, SINCE))


def served_by(snapshot: Snapshot) -> str | None:
    found = snapshot.registry_for_domain(DOMAIN)
    return found.namespace if found is not None else None


@pytest.mark.parametrize("documents", [(OLD, YOUNG, record()), (record(), YOUNG, OLD), (YOUNG, record(), OLD)])
def test_the_recorded_holder_is_served_in_whatever_order_all_comes(documents: tuple[Document, ...]) -> None:
    snapshot = Snapshot()
    put(snapshot, *documents)
    assert served_by(snapshot) == "young"


def test_a_domain_without_a_record_is_nobodys() -> None:
    snapshot = Snapshot()
    put(snapshot, OLD, YOUNG)
    assert served_by(snapshot) is None
    put(snapshot, record())
    apply_change(Change(Key.of(record()), None), snapshot)
    assert served_by(snapshot) is None


def test_a_record_counts_for_the_one_registry_that_it_names() -> None:
    """A Registry that was recreated, no longer lists the domain or is deleted is not served, nor is the next one."""
    snapshot = Snapshot()
    put(snapshot, OLD, YOUNG, record(uid="of-a-registry-before"))
    assert served_by(snapshot) is None
    put(snapshot, record(), registry("young", "2", "2026-01-01T00:00:00Z", listed=("other.example",)))
    assert served_by(snapshot) is None
    put(snapshot, YOUNG)
    assert served_by(snapshot) == "young"
    apply_change(Change(Key.of(YOUNG), None), snapshot)
    assert served_by(snapshot) is None


def test_a_tenant_that_writes_its_status_gains_nothing() -> None:
    snapshot = Snapshot()
    mine = registry("old", "1", "2020-01-01T00:00:00Z", domains=[{"name": DOMAIN, "since": "2020-01-01T00:00:00Z"}])
    put(snapshot, YOUNG, record(), mine)
    assert served_by(snapshot) == "young"


def test_a_record_in_another_namespace_or_of_another_form_changes_nothing() -> None:
    snapshot = Snapshot()
    put(snapshot, OLD, YOUNG, record())
    forged = record("old", "1")
    forged["metadata"]["namespace"] = "old"
    put(snapshot, forged)
    with pytest.raises(ValueError, match="no claim.json"):
        put(snapshot, {**record("old", "1"), "data": {}})
    assert served_by(snapshot) == "young"


def test_each_change_of_a_record_is_another_version_so_that_no_answer_before_it_is_given_again() -> None:
    snapshot = Snapshot()
    put(snapshot, OLD, YOUNG)
    before = snapshot.registries_version
    put(snapshot, record())
    assert snapshot.registries_version != before


def test_what_was_handed_over_for_a_registry_is_not_for_the_next_one_of_its_name() -> None:
    """The namespace may be another tenant's by then, and the operator away."""
    snapshot = Snapshot()
    before = Handoff("old", "quay", "1", 1, Credentials("robot", "CANARY"), networks=parse_networks("10.0.0.0/8"))
    put(snapshot, OLD, encode_handoff(before))
    facts = snapshot.registry_named("old", "quay")
    assert facts is not None
    assert snapshot.handoff(facts) == before
    put(snapshot, registry("old", "of-the-next-owner", "2026-01-01T00:00:00Z"))
    assert snapshot.handoff(facts) is None
    put(snapshot, encode_handoff(replace(before, uid="of-the-next-owner", networks=())))
    assert snapshot.handoff(facts) is not None
