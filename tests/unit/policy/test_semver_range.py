"""A range says of every tag what the library says that its syntax comes from."""

from __future__ import annotations

import random

import pytest
from semantic_version import NpmSpec, Version

from pullgate.policy.semver_range import SemverRange

OPERATORS = ("", "^", "~", ">", ">=", "<", "<=", "=")
IDENTIFIERS = ("a", "b", "0", "1", "10", "01", "rc", "rc1", "-", "x-1")


def version(dice: random.Random) -> str:
    text = ".".join(dice.choice(("0", "1", "2", "10")) for _ in range(dice.choice((1, 2, 3, 3, 3))))
    if text.count(".") == 2 and dice.random() < 0.5:
        text += "-" + ".".join(dice.choice(IDENTIFIERS) for _ in range(dice.choice((1, 2, 3))))
    return text


def a_range(dice: random.Random) -> str:
    def block() -> str:
        return dice.choice(OPERATORS) + dice.choice((version(dice), version(dice), "1.x", "*", "1.2.x"))

    forms = (f"{block()} {block()}", f"{block()} || {block()} {block()}", f"{version(dice)} - {version(dice)}", block())
    return dice.choice(forms)


def by_the_library(spec: NpmSpec, tag: str) -> bool:
    numbers, dash, prerelease = tag.partition("-")
    padded = ".".join([*numbers.split("."), "0", "0"][:3])
    try:
        return bool(spec.match(Version(padded + dash + prerelease)))
    except ValueError:
        return False


@pytest.mark.parametrize("seed", range(20))
def test_a_tag_is_in_a_range_exactly_if_the_library_says_so(seed: int) -> None:
    dice = random.Random(seed)
    seen = set()
    for _ in range(300):
        text = a_range(dice)
        try:
            spec = NpmSpec(text)
        except ValueError:
            continue
        for tag in (version(dice) for _ in range(8)):
            expected = by_the_library(spec, tag)
            assert SemverRange(text).match(tag) is expected, (text, tag)
            seen.add(expected)
    assert seen == {True, False}
