"""Counts read as people write them."""

from __future__ import annotations

import pytest

from pullgate.words import count


@pytest.mark.parametrize(("number", "words"), [(0, "0 pulls"), (1, "1 pull"), (2, "2 pulls"), (1234, "1,234 pulls")])
def test_only_one_of_a_thing_is_singular(number: int, words: str) -> None:
    assert count(number, "pull") == words
