"""Tags under a tag rule: filtered first, then paged, so that neither a page nor its link speaks of other tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl

from pullgate.upstream.client import Upstream
from pullgate_proxy.pipeline.cursor import Position
from pullgate_proxy.pipeline.lists import fetch_tag_page
from pullgate_proxy.pipeline.request import LIST_LIMIT

PAGES: Final = 20
"""Pages of the upstream for one page of the client; a list with fewer allowed tags in them goes on by a link."""
CURSOR: Final = "cursor"


def read_list_query(query: str) -> tuple[int, str, str]:
    """(n, last, cursor) of a client's query. The rest of it, such as an upstream's own cursor, is not asked for."""
    asked = dict(parse_qsl(query))
    return int(asked.get("n", LIST_LIMIT)), asked.get("last", ""), asked.get(CURSOR, "")


async def list_allowed(
    upstream: Upstream, repository: str, position: Position, count: int, allows: Callable[[str], bool]
) -> tuple[tuple[str, ...], Position | None]:
    """`count` allowed tags from `position` on, and where the next ones begin; None after the last one.

    `last` never reaches the upstream: it is compared here, with tags that are allowed.
    """
    found: list[str] = []
    query, shown, last = position.query, position.shown, position.last
    for _ in range(PAGES):
        page = await fetch_tag_page(upstream, repository, query)
        if not count:
            return (), None
        tags = _after(shown, [tag for tag in page.tags if tag > last and allows(tag)])
        room = count - len(found)
        if len(tags) > room:
            found += tags[:room]
            return tuple(found), Position(query, found[-1] if room else shown, last)
        found += tags
        if page.next_query is None or page.next_query == query:
            return tuple(found), None
        query, shown = page.next_query, ""
    return tuple(found), Position(query, "", last)


def _after(shown: str, tags: list[str]) -> list[str]:
    """`tags` behind `shown`; by their order if it is gone meanwhile."""
    if shown in tags:
        return tags[tags.index(shown) + 1 :]
    return [tag for tag in tags if tag > shown]
