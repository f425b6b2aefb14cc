"""A list under a tag rule costs a bounded amount of work, however many tags the upstream has."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from pullgate.policy.entitlement import RepositoryAccess, TagRule
from pullgate.policy.glob import Globs
from pullgate.shares import license_holders
from pullgate.turns import Turns
from pullgate_proxy.lists.cursor import Position
from pullgate_proxy.lists.documents import TagPage
from pullgate_proxy.lists.ruled_list import SECONDS, list_allowed
from pullgate_proxy.lists.tag_pages import RULES, KeptPage

ACME = license_holders("my-app", "acme")
TAGS = tuple(f"1.{number:05}" for number in range(5000))


@dataclass(frozen=True, slots=True)
class Counting(RepositoryAccess):
    """An access that counts the tags that it is asked about."""

    asked: list[str] = field(default_factory=list)

    def allows_tag(self, tag: str) -> bool:
        self.asked.append(tag)
        return self.tags is not None and any(rule.allows(tag) for rule in self.tags)


def access(pattern: str) -> Counting:
    return Counting((TagRule(Globs((pattern,))),), pattern.encode())


class Pages:
    """One page that holds everything, as Quay and distribution 2 answer."""

    def __init__(self, tags: tuple[str, ...] = TAGS) -> None:
        self.kept = KeptPage(TagPage(tags, None))

    async def fetch(self, _: str) -> KeptPage:
        return self.kept


def clock(step: float) -> Callable[[], float]:
    """Seconds that go on by `step` at each look."""
    looks = itertools.count()
    return lambda: next(looks) * step


async def collect(pages: Pages, rule: Counting, count: int, step: float = 0.0) -> tuple[list[str], int]:
    """All tags, and the answers that it took."""
    found: list[str] = []
    position, answers = Position("n=1000"), 0
    while True:
        tags, more = await list_allowed(pages.fetch, position, count, rule, Turns(ACME, clock(step)))
        assert len(tags) <= count
        found += tags
        answers += 1
        if more is None:
            return found, answers
        position = more


async def test_an_answer_looks_at_no_more_tags_than_it_needs() -> None:
    rule = access("1.*")
    tags, more = await list_allowed(Pages().fetch, Position("n=1000"), 10, rule, Turns(ACME))
    assert tags == TAGS[:10]
    assert more is not None
    assert len(rule.asked) == 11


async def test_a_tag_is_compared_with_a_rule_once_however_often_its_page_is_listed() -> None:
    pages, rule = Pages(), access("1.*9")
    for _ in range(3):
        found, _ = await collect(pages, rule, 100)
        assert found == [tag for tag in TAGS if tag.endswith("9")]
    assert len(rule.asked) == len(TAGS)


async def test_the_verdict_of_one_rule_says_nothing_of_another() -> None:
    pages = Pages(TAGS[:100])
    for digit in "0123456789":
        found, _ = await collect(pages, access(f"1.*{digit}"), 1000)
        assert found == [tag for tag in TAGS[:100] if tag.endswith(digit)]
    assert len(pages.kept._verdicts) == RULES


@pytest.mark.parametrize("pattern", ["1.*", "1.*9", "2.*"])
async def test_work_beyond_the_bound_of_an_answer_is_done_by_the_next_and_no_tag_is_lost(pattern: str) -> None:
    pages, rule = Pages(TAGS[:600]), access(pattern)
    found, answers = await collect(pages, rule, 1000, step=SECONDS / 100)
    assert found == [tag for tag in TAGS[:600] if rule.tags is not None and rule.tags[0].allows(tag)]
    assert answers > 2


async def test_a_cursor_goes_on_by_order_where_its_tag_is_gone() -> None:
    tags, _ = await list_allowed(Pages().fetch, Position("n=1000", shown="1.00007x"), 2, access("1.*"), Turns(ACME))
    assert tags == ("1.00008", "1.00009")
