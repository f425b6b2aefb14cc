"""A grant holds for one rule, repository and digest, for its time, and the store of them is bounded."""

from __future__ import annotations

from pullgate.policy.facts import RegistryFacts
from pullgate.policy.glob import Globs
from pullgate_proxy.lineage.grants import Children, Grants, Scope

QUAY = RegistryFacts("my-app", "quay", "Quay", "quay.io", Globs(("**",)))
OTHER = RegistryFacts("my-app", "quay", "Quay", "other.io", Globs(("**",)))
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def test_a_grant_holds_for_its_rule_repository_and_upstream_only() -> None:
    grants = Grants(limit=10)
    grants.add(Scope(QUAY, "my-org/api", b"rule"), (A,), now=0)
    assert grants.holds(Scope(QUAY, "my-org/api", b"rule"), A, now=1)
    assert not grants.holds(Scope(QUAY, "my-org/api", b"rule"), B, now=1)
    assert not grants.holds(Scope(QUAY, "my-org/api", b"narrower"), A, now=1)
    assert not grants.holds(Scope(QUAY, "my-org/other", b"rule"), A, now=1)
    assert not grants.holds(Scope(OTHER, "my-org/api", b"rule"), A, now=1)


def test_a_grant_ends_with_its_lifetime() -> None:
    grants = Grants(limit=10, lifetime=60)
    scope = Scope(QUAY, "my-org/api", b"rule")
    grants.add(scope, (A,), now=0)
    assert grants.holds(scope, A, now=59)
    assert not grants.holds(scope, A, now=60)


def test_grants_are_bounded_and_the_oldest_proof_leaves_first() -> None:
    grants = Grants(limit=3)
    scope = Scope(QUAY, "my-org/api", b"rule")
    digests = [f"sha256:{n:064x}" for n in range(5)]
    for digest in digests[:3]:
        grants.add(scope, (digest,), now=0)
    grants.add(scope, (digests[0],), now=1)
    grants.add(scope, (digests[3],), now=1)
    assert len(grants) == 3
    assert grants.holds(scope, digests[0], now=2)
    assert not grants.holds(scope, digests[1], now=2)


def test_what_manifests_name_is_remembered_within_a_bound() -> None:
    children, scope = Children(limit=10), Scope(QUAY, "my-org/api", b"rule")
    for n in range(20):
        children.put(scope, f"sha256:{n:064x}", (A,), (B,))
    assert children.get(scope, f"sha256:{19:064x}") == ((A,), (B,))
    assert children.get(scope, f"sha256:{0:064x}") is None


def test_what_a_manifest_names_is_known_to_the_repository_that_delivered_it_alone() -> None:
    children = Children()
    children.put(Scope(QUAY, "my-org/api", b"rule"), A, (B,), ())
    assert children.get(Scope(QUAY, "my-org/api", b"another rule"), A) == ((B,), ())
    assert children.get(Scope(QUAY, "my-org/other", b"rule"), A) is None
    assert children.get(Scope(OTHER, "my-org/api", b"rule"), A) is None
