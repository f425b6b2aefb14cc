"""A host is the older one's, a domain the first one's; and those look again for whom that changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pullgate.policy.tenancy import TenantPolicy
from pullgate.providers.domain_claim import DomainClaim
from pullgate_operator.plan.claims import Claim, Claims, Name
from pullgate_operator.plan.domains import find_refusal

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def claim(
    name: str,
    *,
    app: str = "a",
    age: int = 0,
    host: str = "quay.io",
    domains: tuple[str, ...] = (),
    repositories: tuple[str, ...] = ("**",),
) -> Claim:
    """A claim that is `age` days old."""
    created, secrets = NOW - timedelta(days=age), ((app, f"{name}-robot"),)
    return Claim(created, (app, name), host, frozenset(repositories), domains, secrets, f"uid-of-{name}")


def settle(claims: Claims, *domains: str) -> None:
    """Record who holds the domains, as the operator does."""
    for domain in domains:
        record = claims.next_record(domain, NOW)
        claims.put_record(record) if record is not None else claims.drop_record(domain)


def test_the_older_holds_the_host_within_its_app_only() -> None:
    claims = Claims()
    assert claims.put(claim("young")) == set()
    assert claims.put(claim("old", age=1)) == {("a", "young")}
    assert claims.put(claim("elsewhere", app="b", age=9)) == set()
    assert claims.older_by_host(("a", "young")) == ("a", "old")
    assert claims.older_by_host(("a", "old")) is None
    assert claims.older_by_host(("b", "elsewhere")) is None


def test_registries_of_one_host_with_different_repositories_are_in_no_conflict() -> None:
    claims = Claims()
    claims.put(claim("first", age=2, repositories=("first/**",)))
    assert claims.put(claim("second", age=1, repositories=("second/**",))) == {("a", "first")}
    claims.put(claim("rest"))
    assert [claims.older_by_host(("a", name)) for name in ("first", "second", "rest")] == [None, None, None]


def test_a_registry_whose_patterns_older_ones_have_is_in_conflict_with_the_oldest_of_these() -> None:
    claims = Claims()
    claims.put(claim("first", age=3, repositories=("first/**", "shared/**")))
    claims.put(claim("second", age=2, repositories=("second/**", "shared/**")))
    claims.put(claim("both", age=1, repositories=("second/**", "first/**")))
    claims.put(claim("more", repositories=("first/**", "third/**")))
    assert claims.older_by_host(("a", "second")) is None
    assert claims.older_by_host(("a", "both")) == ("a", "first")
    assert claims.older_by_host(("a", "more")) is None
    affected = claims.put(claim("first", age=3, repositories=("moved/**",)))
    assert ("a", "both") in affected
    assert claims.older_by_host(("a", "both")) is None


X, Y = "x.example", "y.example"
OLD, YOUNG = ("b", "old"), ("a", "young")


def test_a_domain_without_a_record_is_the_oldest_registrys_in_all_apps() -> None:
    claims = Claims()
    claims.put(claim("young", domains=(X, Y)))
    claims.put(claim("old", app="b", age=1, domains=(Y,)))
    assert (claims.holder(X), claims.holder(Y)) == (YOUNG, OLD)
    assert claims.domains_of("a") == (X,)
    assert claims.domains_of("b") == (Y,)


def test_an_older_registry_that_claims_a_domain_later_does_not_get_it() -> None:
    claims = Claims()
    claims.put(claim("young", domains=(X,)))
    claims.put(claim("old", app="b", age=9))
    settle(claims, X)
    assert claims.put(claim("old", app="b", age=9, domains=(X,))) == set()
    settle(claims, X)
    assert claims.holder(X) == YOUNG
    assert claims.domains_of("b") == ()
    assert [record.domain for record in claims.held_by(YOUNG)] == [X]
    assert claims.held_by(OLD) == ()


def test_after_a_restart_the_record_decides_in_whatever_order_all_comes() -> None:
    record = DomainClaim(X, "a", "young", "uid-of-young", NOW)
    young, old = claim("young", domains=(X,)), claim("old", app="b", age=9, domains=(X,))
    for first, second in ((young, old), (old, young)):
        before, after = Claims(), Claims()
        before.put_record(record)
        for each in (first, second):
            before.put(each)
            after.put(each)
        after.put_record(record)
        assert before.holder(X) == after.holder(X) == YOUNG
        assert after.next_record(X, NOW) == record


def test_a_holder_that_drops_a_domain_or_goes_gives_it_to_the_next() -> None:
    for dropped in (claim("young"), None):
        claims = Claims()
        claims.put(claim("young", domains=(X,)))
        settle(claims, X)
        claims.put(claim("old", app="b", age=9, domains=(X,)))
        affected = claims.put(dropped) if dropped is not None else claims.remove(YOUNG)
        assert affected == {OLD}
        settle(claims, *claims.domains_about(YOUNG))
        assert claims.holder(X) == OLD
        assert [record.domain for record in claims.held_by(OLD)] == [X]
        claims.put(claim("young", domains=(X,)))
        assert claims.holder(X) == OLD


def test_a_record_of_a_registry_that_was_made_anew_counts_nothing() -> None:
    claims = Claims()
    claims.put_record(DomainClaim(X, "a", "young", "another-uid", NOW))
    claims.put(claim("young", domains=(X,)))
    claims.put(claim("old", app="b", age=9, domains=(X,)))
    assert claims.holder(X) == OLD


def test_a_domain_that_nobody_lists_has_no_holder_and_its_record_goes() -> None:
    claims = Claims()
    claims.put(claim("young", domains=(X,)))
    settle(claims, X)
    claims.remove(YOUNG)
    assert claims.domains_about(YOUNG) == (X,)
    assert list(claims.recorded()) == [YOUNG]
    settle(claims, X)
    assert claims.holder(X) is None
    assert claims.domains_about(YOUNG) == ()
    assert list(claims.recorded()) == []


def test_a_registry_that_cannot_be_read_at_the_start_keeps_what_it_held() -> None:
    claims = Claims()
    claims.put_record(DomainClaim(X, "a", "young", "uid-of-young", NOW))
    claims.put(claim("old", app="b", age=9, domains=(X,)))
    assert claims.put_unreadable(YOUNG, "uid-of-young") == {OLD}
    assert claims.put_unreadable(YOUNG, "uid-of-young") == set()
    assert claims.holder(X) == YOUNG
    assert claims.domains_of("a") == (X,)
    assert claims.put_unreadable(YOUNG, "made-anew") == {OLD}
    assert claims.holder(X) == OLD


def test_a_registry_that_breaks_later_keeps_what_it_claimed() -> None:
    claims = Claims()
    claims.put(claim("young", domains=(X,)))
    assert claims.put_unreadable(YOUNG, "uid-of-young") == set()
    assert claims.holder(X) == YOUNG
    claims.remove(YOUNG)
    assert claims.holder(X) is None


def test_a_domain_that_a_namespace_may_not_claim_is_the_next_ones_with_a_record_or_without() -> None:
    denied: set[str] = set()
    claims = Claims(lambda namespace, _domain: namespace not in denied)
    claims.put(claim("old", app="b", age=9, domains=(X,)))
    claims.put(claim("young", domains=(X,)))
    settle(claims, X)
    denied.add("b")
    assert claims.holder(X) == YOUNG
    assert claims.rivals_of("b") == {OLD, YOUNG}
    settle(claims, X)
    denied.clear()
    assert claims.holder(X) == YOUNG


def test_a_rival_that_changes_nothing_bothers_nobody_who_holds() -> None:
    claims = Claims()
    claims.put(claim("young", domains=(X,)))
    settle(claims, X)
    assert claims.put(claim("old", app="b", age=9, domains=(X, Y))) == set()
    assert claims.put(claim("old", app="b", age=9, domains=(X,))) == set()
    assert claims.remove(OLD) == set()


def refusal(claims: Claims, name: Name, *patterns: str) -> tuple[str, str]:
    found = find_refusal(claims, name, TenantPolicy(domains=patterns or ("*",)), "images.example.com")
    return (found.reason, found.message) if found is not None else ("", "")


def test_a_conflict_names_the_other_registry_of_the_same_namespace_alone() -> None:
    claims = Claims()
    claims.put(claim("holder-name", app="holder-namespace", age=9, domains=(X, Y)))
    claims.put(claim("young", domains=(X, Y)))
    reason, message = refusal(claims, YOUNG)
    assert reason == "DomainConflict"
    assert message.startswith("x.example is held by another app; ")
    assert message.endswith("; 1 more of spec.domains are refused")
    assert "holder" not in message
    claims.put(claim("older", age=3, domains=("z.example",)))
    claims.put(claim("young", domains=("z.example",)))
    assert refusal(claims, YOUNG)[1].startswith("z.example is held by Registry older; ")
    assert refusal(claims, ("a", "older")) == ("", "")


def test_what_may_not_be_claimed_is_said_before_anything_of_its_holder() -> None:
    names = [
        "images.example.com",
        "p.s.svc",
        "p.s.svc.cluster.local",
        "printer.local",
        "a.localhost",
        "a." * 123 + "aa",
    ]
    for domain in names:
        claims = Claims(lambda _namespace, _domain: False)
        claims.put(claim("young", domains=(domain,)))
        reason, message = refusal(claims, YOUNG)
        assert reason == "DomainNotAllowed"
        assert "no Registry can claim" in message
    claims = Claims(lambda namespace, _domain: namespace == "b")
    claims.put(claim("old", app="b", age=9, domains=(X,)))
    claims.put(claim("young", domains=(X,)))
    fix = "the cluster's administrator allows it by the annotation pullgate.dev/domains of the Namespace"
    expected = ("DomainNotAllowed", f"namespace a may not claim x.example; {fix}")
    assert refusal(claims, YOUNG, "*.other.example") == expected


def test_when_the_older_of_a_host_goes_the_younger_looks_again() -> None:
    claims = Claims()
    claims.put(claim("young"))
    claims.put(claim("old", age=1))
    assert claims.remove(("a", "old")) == {YOUNG}
    assert claims.remove(("a", "old")) == set()


def test_of_two_of_the_same_second_the_name_decides() -> None:
    claims = Claims()
    claims.put(claim("b"))
    claims.put(claim("a"))
    assert claims.older_by_host(("a", "b")) == ("a", "a")
    assert claims.older_by_host(("a", "a")) is None


def test_what_did_not_change_bothers_nobody() -> None:
    claims = Claims()
    claims.put(claim("one"))
    claims.put(claim("two"))
    assert claims.put(claim("two")) == set()


def test_a_secret_is_found_by_who_refers_to_it() -> None:
    claims = Claims()
    claims.put(claim("one"))
    assert claims.referring_to(("a", "one-robot")) == {("a", "one")}
    claims.remove(("a", "one"))
    assert claims.referring_to(("a", "one-robot")) == set()
