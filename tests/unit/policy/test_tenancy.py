"""The administrator's rules, read from the annotations of a Namespace."""

from __future__ import annotations

import pytest

from pullgate.policy.tenancy import (
    DEFAULT_POLICY,
    DOMAINS,
    MAX_REQUESTS,
    OWN_IDENTITY,
    PRIVATE_NETWORKS,
    InvalidPolicy,
    TenantPolicy,
    parse_domains,
    parse_networks,
    read_policy,
)

FLAGS = TenantPolicy(("*.acme.dev",), parse_networks("10.0.0.0/8"), own_identity=True, max_requests=50)


def test_without_annotations_the_flags_hold() -> None:
    assert read_policy({}, FLAGS) == FLAGS
    assert DEFAULT_POLICY.networks == ()
    assert not DEFAULT_POLICY.own_identity


def test_an_annotation_takes_the_place_of_its_flag_and_of_no_other() -> None:
    policy = read_policy({DOMAINS: "images.acme.com, *.Acme.org"}, FLAGS)
    assert policy.domains == ("images.acme.com", "*.acme.org")
    assert (policy.networks, policy.own_identity, policy.max_requests) == (FLAGS.networks, True, 50)
    assert read_policy({OWN_IDENTITY: "false"}, FLAGS).own_identity is False
    assert read_policy({MAX_REQUESTS: "7"}, FLAGS).max_requests == 7
    assert read_policy({PRIVATE_NETWORKS: ""}, FLAGS).networks == ()
    assert not read_policy({DOMAINS: ""}, FLAGS).allows_domain("x.acme.dev")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (DOMAINS, "https://images.acme.com"),
        (DOMAINS, "acme"),
        (DOMAINS, "*acme.com"),
        (DOMAINS, " ".join(f"a{n}.acme.com" for n in range(257))),
        (PRIVATE_NETWORKS, "10.0.0.0/33"),
        (PRIVATE_NETWORKS, "my-registry"),
        (OWN_IDENTITY, "yes"),
        (MAX_REQUESTS, "0"),
        (MAX_REQUESTS, "-1"),
        (MAX_REQUESTS, "99999999999999999999"),
    ],
)
def test_an_annotation_that_cannot_be_read_allows_nothing_and_says_so(name: str, text: str) -> None:
    policy = read_policy({name: text}, FLAGS)
    assert name in policy.problems[0]
    if name == DOMAINS:
        assert not policy.allows_domain("x.acme.dev")
    if name == PRIVATE_NETWORKS:
        assert policy.networks == ()
    if name == OWN_IDENTITY:
        assert not policy.own_identity
    if name == MAX_REQUESTS:
        assert policy.max_requests == 1


def test_a_pattern_covers_what_is_below_its_domain_and_not_its_neighbours() -> None:
    policy = TenantPolicy(parse_domains("images.acme.com *.acme.dev"))
    assert [d for d in ("images.acme.com", "x.acme.dev", "x.y.acme.dev") if not policy.allows_domain(d)] == []
    assert [d for d in ("acme.dev", "xacme.dev", "x.images.acme.com", "acme.com") if policy.allows_domain(d)] == []
    assert TenantPolicy().allows_domain("any.example")


def test_the_networks_of_a_flag_are_read_or_refused_by_their_entry() -> None:
    assert [str(n) for n in parse_networks("10.1.2.3,fd12::/48")] == ["10.1.2.3/32", "fd12::/48"]
    with pytest.raises(InvalidPolicy, match="'10.0.0.0/99' is no network; write it like 10"):
        parse_networks("10.0.0.0/99")
