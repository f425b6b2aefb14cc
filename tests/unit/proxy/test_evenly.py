"""An app that floods a cache pushes out its own entries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pullgate_proxy.cache.evenly import Evenly


def test_an_app_that_floods_it_keeps_its_equal_part_and_others_keep_theirs() -> None:
    cache: Evenly[int, str] = Evenly(90)
    for app in ("quiet", "flood", "third"):
        for number in range(20):
            cache.put(app, number, app)
    for number in range(1000):
        cache.put("flood", number, "flood")
    kept = {app: sum(cache.peek(app, n) is not None for n in range(1000)) for app in ("quiet", "flood", "third")}
    assert kept == {"quiet": 20, "flood": 50, "third": 20}
    for number in range(100):
        cache.put("third", number, "third")
    assert [cache.size, cache.peek("quiet", 0), cache.peek("flood", 999)] == [90, "quiet", "flood"]


def test_the_oldest_of_an_app_goes_first_and_use_makes_it_young() -> None:
    cache: Evenly[str, int] = Evenly(2)
    cache.put("app", "a", 1)
    cache.put("app", "b", 2)
    assert cache.get("app", "a") == 1
    cache.put("app", "c", 3)
    assert [cache.peek("app", key) for key in "abc"] == [1, None, 3]


STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(1, 30)))


@given(st.integers(0, 100), STEPS)
def test_the_limit_holds_and_nothing_is_remembered_of_an_app_without_entries(
    limit: int, steps: list[tuple[str, int, int]]
) -> None:
    cache: Evenly[int, int] = Evenly(limit)
    for app, key, cost in steps:
        cache.put(app, key, cost, cost)
        kept = [cache.peek(app, key) or 0 for app in "abc" for key in range(10)]
        assert cache.size == sum(kept) <= limit
        assert all(cache._sizes.values())
        assert set(cache._sizes) == set(cache._apps)
