"""Who holds a host or a domain: the older one; and who must look again when that changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pullgate_operator.plan.claims import Claim, Claims

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
    return Claim(created, (app, name), host, frozenset(repositories), domains, secrets)


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


def test_the_older_holds_the_domain_in_all_apps() -> None:
    claims = Claims()
    claims.put(claim("young", domains=("x.example", "y.example")))
    claims.put(claim("old", app="b", age=1, domains=("y.example",)))
    assert claims.older_by_domain(("a", "young")) == ("y.example", ("b", "old"))
    assert claims.domains_of("a") == ("x.example",)
    assert claims.domains_of("b") == ("y.example",)


def test_when_the_older_goes_the_younger_looks_again() -> None:
    claims = Claims()
    claims.put(claim("young", domains=("x.example",)))
    claims.put(claim("old", age=1, host="ghcr.io", domains=("x.example",)))
    assert claims.remove(("a", "old")) == {("a", "young")}
    assert claims.older_by_domain(("a", "young")) is None
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
