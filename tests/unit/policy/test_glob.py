"""Globs match what they say, compared with a plain matcher, and never run away."""

from __future__ import annotations

import re
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.policy.glob import Globs, validate_glob


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("**", "a", True),
        ("**", "a/b/c", True),
        ("my-org/api", "my-org/api", True),
        ("my-org/api", "my-org/api2", False),
        ("my-org/*", "my-org/api", True),
        ("my-org/*", "my-org/api/v2", False),
        ("my-org/*", "my-org", False),
        ("my-org/worker-*", "my-org/worker-a", True),
        ("my-org/worker-*", "my-org/worker", False),
        ("charts/**", "charts/a", True),
        ("charts/**", "charts/a/b", True),
        ("charts/**", "charts", True),
        ("charts/**", "charts2/a", False),
        ("**/api", "api", True),
        ("**/api", "a/b/api", True),
        ("**/api", "a/b/xapi", False),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("a/**/z", "a/b/c", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("1.*", "1.4.0", True),
        ("1.*", "10", False),
        ("v1.+", "v1.+", True),
        ("a.b", "axb", False),
    ],
)
def test_a_glob_covers_what_it_says(pattern: str, text: str, expected: bool) -> None:
    assert Globs((pattern,)).match(text) is expected


def covers(pattern: list[str], name: list[str]) -> bool:
    """The meaning of a glob, segment by segment, without a regular expression of its own."""
    if not pattern:
        return not name
    if pattern[0] == "**":
        return any(covers(pattern[1:], name[i:]) for i in range(len(name) + 1))
    segment = re.escape(pattern[0]).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return bool(name) and re.fullmatch(segment, name[0]) is not None and covers(pattern[1:], name[1:])


SEGMENT = st.text(alphabet="ab*?", min_size=1, max_size=4).filter(lambda s: "**" not in s)


@given(
    st.lists(SEGMENT | st.just("**"), min_size=1, max_size=4),
    st.lists(st.text(alphabet="ab", min_size=1, max_size=3), min_size=1, max_size=4),
)
def test_it_agrees_with_the_plain_meaning(pattern: list[str], name: list[str]) -> None:
    joined = "/".join(pattern)
    assert validate_glob(joined) is None
    assert Globs((joined,)).match("/".join(name)) is covers(pattern, name)


@pytest.mark.parametrize("pattern", ["", "a b", "a**", "**a/b", "***", "a\n", "[a]", "{a,b}", "a" * 256, "(a)", "a\\"])
def test_a_pattern_that_is_none_is_told(pattern: str) -> None:
    assert validate_glob(pattern)


@pytest.mark.parametrize("pattern", ["a*" * 60 + "b", "**/a/" * 40 + "b", "*a*a*a*a/**/*a*a*a*b", "**/" * 60 + "b"])
def test_no_pattern_runs_away(pattern: str) -> None:
    assert validate_glob(pattern) is None
    signal.alarm(20)  # a runaway would end the run here
    try:
        assert not Globs((pattern,)).match("a" * 128)
        assert not Globs((pattern,)).match("a/" * 127 + "a")
    finally:
        signal.alarm(0)


def test_no_pattern_matches_nothing() -> None:
    assert not Globs(()).match("")
    assert not Globs(()).match("a")


def test_equal_globs_are_equal_and_share_their_compiled_form() -> None:
    assert Globs(("a/*",)) == Globs(("a/*",))
    assert Globs(("a/*",))._compiled is Globs(("a/*",))._compiled
