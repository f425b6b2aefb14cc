"""Nobody holds more of a pool than a fixed multiple of the room that is free for all others."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pullgate.faults import Overloaded, ShareReached
from pullgate.shares import ALPHA, FEW, Holder, Holders, Kind, Shares, namespace_holder, registry_holders


def holders_of(namespace: int, license_: int, registry: int) -> Holders:
    app = f"app-{namespace}"
    return (
        namespace_holder(app),
        Holder(Kind.REGISTRY, app, f"registry-{registry}"),
        Holder(Kind.LICENSE, app, f"license-{license_}"),
    )


def fill(pool: Shares, holders: Holders) -> int:
    """Take all that `holders` may have; returns how much that is."""
    taken = 0
    while pool.fits(holders):
        pool.take(holders)
        taken += 1
    return taken


def take_until_refused(pool: Shares, holders: Holders) -> None:
    while True:
        pool.take(holders)


SMALL = st.integers(0, 3)
STEPS = st.lists(st.tuples(SMALL, SMALL, SMALL, st.integers(1, 40), st.booleans()), max_size=200)


@given(st.integers(1, 300), STEPS)
def test_in_any_order_the_pool_is_never_exceeded_nor_is_a_share_when_it_is_taken(
    limit: int, steps: list[tuple[int, int, int, int, bool]]
) -> None:
    pool = Shares("requests", limit)
    held: list[tuple[Holders, int]] = []
    for namespace, license_, registry, units, gives in steps:
        if gives and held:
            pool.give(*held.pop(units % len(held)))
            continue
        holders, free = holders_of(namespace, license_, registry), limit - pool.used
        before = {holder: pool.held_by(holder) for holder in holders}
        try:
            pool.take(holders, units)
        except (ShareReached, Overloaded):
            assert {holder: pool.held_by(holder) for holder in holders} == before
            continue
        held.append((holders, units))
        app, registry_, license__ = (pool.held_by(holder) for holder in holders)
        free -= units - 1
        assert app - 1 < free
        assert license__ - 1 < ALPHA[Kind.LICENSE] * (free - (app - 1))
        assert license__ <= FEW or registry_ - 1 < ALPHA[Kind.REGISTRY] * (free - (app - 1))
        assert pool.used == sum(size for _, size in held) <= limit
    for one in held:
        pool.give(*one)
    assert (pool.used, pool.holders) == (0, 0), "nothing is remembered of who holds nothing"


@given(st.integers(1, 12), st.integers(0, 400))
def test_a_newcomer_is_admitted_while_many_hold_all_they_can(hogs: int, more: int) -> None:
    limit = (hogs + 1) ** 2 + more
    pool = Shares("requests", limit)
    many = [holders_of(number, 0, 0)[:1] for number in range(hogs)]
    for _ in range(limit):  # they come in turn, as long as anybody gets something
        for hog in many:
            if pool.fits(hog):
                pool.take(hog)
    assert not any(pool.fits(hog) for hog in many)
    free = limit - pool.used
    assert free >= limit // (hogs + 1)
    assert fill(pool, holders_of(99, 0, 0)[:1]) >= free // 2


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.booleans())
def test_licenses_of_an_app_that_hold_all_they_can_keep_no_other_license_of_it_out(
    hogs: int, registries: int, first: bool
) -> None:
    pool = Shares("requests", 800)
    for _ in range(800):
        for number in range(hogs):
            for registry in range(registries) if first else reversed(range(registries)):
                if pool.fits(holders_of(0, number, registry)):
                    pool.take(holders_of(0, number, registry))
    assert fill(pool, holders_of(0, 100, 0)) >= FEW
    assert fill(pool, holders_of(1, 0, 0)) >= 800 // 10


@pytest.mark.parametrize(
    ("holders", "most"),
    [
        pytest.param(holders_of(0, 0, 0)[:1], 600, id="an app: half"),
        pytest.param((holders_of(0, 0, 0)[0], holders_of(0, 0, 0)[2]), 400, id="a License: a third"),
        pytest.param(holders_of(0, 0, 0)[:2], 480, id="a Registry: two fifths"),
    ],
)
def test_one_alone_holds_much_and_never_all(holders: Holders, most: int) -> None:
    assert fill(Shares("requests", 1200), holders) == most


def test_the_refusal_names_who_has_its_share() -> None:
    pool = Shares("requests", 480)
    acme = holders_of(0, 1, 0)
    with pytest.raises(ShareReached) as refused:
        take_until_refused(pool, (acme[0], acme[2]))
    assert refused.value.message == "license license-1 has 160 requests open, which is its share"
    assert (refused.value.status, refused.value.retry_after) == (429, 2)
    with pytest.raises(ShareReached, match="app app-0 has 240 requests open"):
        take_until_refused(pool, acme[:1])


def test_a_full_pool_is_the_pools_own_fault() -> None:
    pool = Shares("bodies", 10)
    with pytest.raises(Overloaded) as refused:
        pool.take(registry_holders("my-app", "quay"), 11)
    assert refused.value.cause == "bodies"


def test_an_admins_bound_of_a_namespace_holds_below_its_share() -> None:
    pool = Shares("requests", 1000, {"app-0": 5}.get)
    assert fill(pool, holders_of(0, 0, 0)) == 5
    assert fill(pool, holders_of(1, 0, 0)) > 300


def test_a_loan_counts_what_came_and_gives_all_of_it_back() -> None:
    pool = Shares("bodies", 900)
    with pool.lend(*registry_holders("my-app", "quay")) as loan:
        loan.grow_to(100)
        loan.grow_to(50)
        assert (loan.size, pool.used) == (100, 100)
        with pytest.raises(ShareReached):
            loan.grow_to(400)
    assert (pool.used, pool.holders) == (0, 0)


def test_without_a_limit_all_is_given() -> None:
    pool = Shares("bodies")
    pool.take(registry_holders("my-app", "quay"), 10**12)
    assert pool.used == 10**12
