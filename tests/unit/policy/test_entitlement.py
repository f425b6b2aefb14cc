"""Default deny, several entitlements add up, equal rules are equal."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.faults import Fault, LicenseExpired, LicenseNotYetValid, LicenseSuspended
from pullgate.policy.entitlement import Entitlement, TagRule, access, check_validity
from pullgate.policy.facts import LicenseFacts
from pullgate.policy.glob import Globs
from pullgate.policy.semver_range import SemverRange, validate_semver

NOW = datetime(2026, 11, 24, tzinfo=UTC)
BEFORE, AFTER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


def tags(*patterns: str, semver: str | None = None) -> TagRule:
    return TagRule(Globs(patterns) if patterns else None, SemverRange(semver) if semver else None)


def license_(*entitlements: Entitlement) -> LicenseFacts:
    return LicenseFacts("my-app", "acme", entitlements)


def entitle(*repositories: str, registry: str | None = None, rule: TagRule | None = None) -> Entitlement:
    return Entitlement(registry, Globs(repositories), rule)


@given(st.text(max_size=20), st.text(max_size=20))
def test_without_an_entitlement_nothing_is_covered(registry: str, repository: str) -> None:
    assert access(license_(), registry, repository) is None


def test_an_entitlement_is_for_its_registry_and_its_repositories() -> None:
    facts = license_(entitle("my-org/api", registry="quay"))
    assert access(facts, "quay", "my-org/api") is not None
    assert access(facts, "hub", "my-org/api") is None
    assert access(facts, "quay", "my-org/other") is None
    assert access(license_(entitle("my-org/api")), "hub", "my-org/api") is not None


def test_entitlements_add_up_and_one_without_tags_opens_all() -> None:
    facts = license_(entitle("a", rule=tags("1.*")), entitle("a", rule=tags("stable")))
    both = access(facts, "quay", "a")
    assert both is not None
    assert both.allows_tag("1.0")
    assert both.allows_tag("stable")
    assert not both.allows_tag("2.0")
    assert not both.allows_every_reference
    everything = access(license_(entitle("a", rule=tags("1.*")), entitle("*")), "quay", "a")
    assert everything is not None
    assert everything.allows_every_reference


def test_equal_rules_have_one_fingerprint_and_different_ones_differ() -> None:
    def rule(*rules: TagRule) -> bytes:
        found = access(license_(*(entitle("a", rule=r) for r in rules)), "quay", "a")
        assert found is not None
        return found.rule

    assert rule(tags("1.*", "stable")) == rule(tags("stable", "1.*"))
    assert rule(tags("1.*"), tags("stable")) == rule(tags("stable"), tags("1.*"))
    kinds = [rule(tags("1.*")), rule(tags("2.*")), rule(tags(semver="1.x")), rule(tags("1.*", semver="1.x"))]
    assert len(set(kinds)) == len(kinds)


def test_exact_tags_are_known_only_where_no_pattern_decides() -> None:
    def exact(*rules: TagRule) -> tuple[str, ...] | None:
        found = access(license_(*(entitle("a", rule=r) for r in rules)), "quay", "a")
        assert found is not None
        return found.exact_tags

    assert exact(tags("1.0", "stable"), tags("stable", "2.0")) == ("1.0", "stable", "2.0")
    assert exact(tags("1.*")) is None
    assert exact(tags("1.0", semver=">=1")) is None


@pytest.mark.parametrize(
    ("text", "tag", "expected"),
    [
        (">=1.4 <2", "1.4.0", True),
        (">=1.4 <2", "v1.9.9", True),
        (">=1.4 <2", "1.4", True),
        (">=1.4 <2", "2.0.0", False),
        (">=1.4 <2", "1.3.9", False),
        (">=1.4 <2", "latest", False),
        (">=1.4 <2", "1.5.0-rc.1", False),
        (">=1.5.0-rc.1 <2", "1.5.0-rc.2", True),
        ("^1.2", "1.9.0", True),
        ("~1.2", "1.3.0", False),
        ("1.x || 3.0.0", "3.0.0", True),
        (">=v1.4", "1.4.1", True),
        (">=1.4", "1.4.0+build5", True),
        (">=1.4", "01.4.0", False),
        # Helm reads each _ of a tag as + (helm#10166): build metadata, which decides nothing.
        (">=1.4 <2", "1.4.0_up2", True),
        (">=1.4 <2", "v1.9.0-rc.1_up2", False),
        (">=1.5.0-0 <2", "1.5.0-rc.1_up2", True),
        (">=1.4 <2", "2.0.0_up2", False),
        (">=1.4 <2", "1.4.0_alpine", True),
        (">=1.4 <2", "1.4.0_up_2", False),
        (">=1.4 <2", "1.4.0_", False),
        (">=1.4 <2", "_1.4.0", False),
        ("*", "1.4.0\n", False),
    ],
)
def test_a_range_covers_versions_as_npm_says(text: str, tag: str, expected: bool) -> None:
    assert SemverRange(text).match(tag) is expected


@pytest.mark.parametrize("text", ["", "latest", ">=", "1..2", ">=1.4 and <2", "x" * 300])
def test_a_range_that_is_none_is_told(text: str) -> None:
    assert validate_semver(text)


@pytest.mark.parametrize("text", [">=1.4.0+up2", "1.4.0+5", "^1.4 || 2.0.0+x"])
def test_a_range_with_build_metadata_is_refused_with_its_fix(text: str) -> None:
    assert "leave out the +" in (validate_semver(text) or "")


@given(st.text(max_size=60))
def test_any_range_is_valid_or_told_and_matches_without_raising(text: str) -> None:
    if validate_semver(text) is None:
        SemverRange(text).match("1.0.0")


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        (LicenseFacts("a", "acme", (), suspended="why", expires_at=BEFORE), LicenseSuspended),
        (LicenseFacts("a", "acme", (), suspended=""), LicenseSuspended),
        (LicenseFacts("a", "acme", (), not_before=AFTER), LicenseNotYetValid),
        (LicenseFacts("a", "acme", (), expires_at=BEFORE), LicenseExpired),
        (LicenseFacts("a", "acme", (), expires_at=NOW), LicenseExpired),
    ],
)
def test_a_license_that_may_not_pull_now_says_why(facts: LicenseFacts, fault: type[Fault]) -> None:
    with pytest.raises(fault, match="license acme"):
        check_validity(facts, NOW)


def test_a_license_is_valid_from_its_first_instant() -> None:
    check_validity(LicenseFacts("a", "acme", (), not_before=NOW, expires_at=AFTER), NOW)
