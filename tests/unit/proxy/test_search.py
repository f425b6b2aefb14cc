"""A search for a digest takes in any list of tags: the newest of it, in slices, and for a bounded time."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from pullgate.shares import license_holders
from pullgate.turns import Turns
from pullgate_proxy.lineage.search import LISTED_SECONDS, TAG_LIMIT, Newest, Search, version_key
from pullgate_proxy.lists.documents import TagPage

ACME = license_holders("my-app", "acme")


def by_parts(tag: str) -> list[tuple[int, int, str]]:
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.split(r"([0-9]+)", tag)]


def test_numbers_in_tags_sort_as_numbers() -> None:
    dice = random.Random(7)
    tags = ["".join(dice.choice("a-.019_") for _ in range(dice.randint(1, 8))) for _ in range(3000)]
    assert sorted(tags, key=version_key) == sorted(tags, key=by_parts)
    assert max("1.9.0", "1.10.0", "1.2.0", key=version_key) == "1.10.0"


def test_the_newest_tags_of_any_number_are_kept() -> None:
    newest = Newest()
    for number in random.Random(1).sample(range(TAG_LIMIT * 5), TAG_LIMIT * 5):
        newest.add(f"1.{number}")
    assert len(newest._tags) < 2 * TAG_LIMIT
    kept = newest.take()
    assert newest.dropped
    assert kept == [f"1.{number}" for number in range(TAG_LIMIT * 5 - 1, TAG_LIMIT * 4 - 1, -1)]


async def test_a_list_that_takes_too_long_ends_the_search_incomplete_and_with_what_it_found() -> None:
    looks = itertools.count()
    search = Search()
    page = TagPage(tuple(f"1.{number}" for number in range(1000)), "n=1000&last=x")
    await search.take_page(page, lambda _: True, Turns(ACME, lambda: next(looks) * LISTED_SECONDS / 50))
    assert search.query is None
    assert not search.complete
    assert 0 < len(search.tags) < 1000


@pytest.mark.parametrize("next_query", [None, "n=1000&last=x"])
async def test_a_page_is_taken_in_with_all_its_tags(next_query: str | None) -> None:
    search = Search()
    signature = f"sha256-{'0' * 64}.sig"
    await search.take_page(
        TagPage(("1.0", "2.0", "x", signature), next_query),
        lambda tag: tag < "2",
        Turns(ACME),
    )
    assert search.query == next_query
    assert list(search.about) == [signature]
    search.end_list()
    assert list(search.tags) == ["1.0"]
    assert search.complete
