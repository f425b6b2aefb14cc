"""Tags under a tag rule: filtered first, then paged, so that neither a page nor its link speaks of other tags.

An answer ends when it is full, when PAGES pages were looked at, or when the rule took SECONDS; the cursor leads on from
the tag that was looked at last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qsl

from pullgate.policy.entitlement import RepositoryAccess
from pullgate.turns import Turns
from pullgate_proxy.lists.cursor import Position
from pullgate_proxy.lists.tag_pages import ALLOWED, REFUSED, KeptPage
from pullgate_proxy.request.parse import LIST_LIMIT

PAGES: Final = 20
"""Pages of the upstream for one page of the client; a list with fewer allowed tags in them goes on by a link."""
SECONDS: Final = 0.5
"""Seconds of work for one answer. A tag takes a microsecond or two, under the largest rule a millisecond."""
CURSOR: Final = "cursor"

Fetch = Callable[[str], Awaitable[KeptPage]]
"""The page that a query asks for. Raises the upstream's faults."""


def read_list_query(query: str) -> tuple[int, str, str]:
    """(n, last, cursor) of a client's query. The rest of it, such as an upstream's own cursor, is not asked for."""
    asked = dict(parse_qsl(query))
    return int(asked.get("n", LIST_LIMIT)), asked.get("last", ""), asked.get(CURSOR, "")


async def list_allowed(
    fetch: Fetch, position: Position, count: int, access: RepositoryAccess, turns: Turns
) -> tuple[tuple[str, ...], Position | None]:
    """`count` allowed tags from `position` on, and where the next ones begin; None after the last one.

    `last` never reaches the upstream: it is compared here, with tags that are allowed.
    """
    found: list[str] = []
    query, shown, last = position.query, position.shown, position.last
    for _ in range(PAGES):
        kept = await fetch(query)
        if not count:
            return (), None
        async with turns:
            stopped = await _take(kept, shown, last, count, access, found, turns)
        if stopped is not None:
            return tuple(found), Position(query, stopped, last)
        if kept.page.next_query is None or kept.page.next_query == query:
            return tuple(found), None
        query, shown = kept.page.next_query, ""
    return tuple(found), Position(query, "", last)


async def _take(
    kept: KeptPage, shown: str, last: str, count: int, access: RepositoryAccess, found: list[str], turns: Turns
) -> str | None:
    """Add the allowed tags behind `shown` and `last` to `found`, up to `count`.

    Returns the last tag that was looked at if others are left, and None at the end of the page.
    """
    tags, verdicts = kept.page.tags, kept.verdicts(access.rule)
    start = tags.index(shown) + 1 if shown in tags else 0
    floor = last if start else max(last, shown)  # what was shown is gone meanwhile: go on by its order
    at = shown
    for place in range(start, len(tags)):
        tag = tags[place]
        if not verdicts[place]:
            verdicts[place] = ALLOWED if access.allows_tag(tag) else REFUSED
        if verdicts[place] == ALLOWED and tag > floor:
            if len(found) == count:
                return at
            found.append(tag)
        at = tag
        await turns.give()
        if turns.spent >= SECONDS and place + 1 < len(tags):
            return at
    return None
