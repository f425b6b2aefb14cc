"""An upstream's large pages of tags, kept for some seconds with what a tag rule said of each tag.

Some upstreams answer with the whole list (Quay, distribution 2): 170,000 tags are 2.6 MB, from which a client gets
1,000 at a time. Without a memory each of its requests costs that fetch, and as many comparisons.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pullgate.upstream.client import Upstream
from pullgate_proxy.cache.together import Together
from pullgate_proxy.cache.where import Where
from pullgate_proxy.lists.documents import TagPage, fetch_tag_page

LARGE: Final = 2_000
"""Tags of a page from which on it is kept; a smaller one costs what any request costs."""
SECONDS: Final = 10.0
"""For which a page is kept; less where the Registry's tagTTL is less."""
LIMIT: Final = 32 * 1024 * 1024
"""Bytes of all pages that are kept, about: two of 170,000 tags."""
RULES: Final = 8
"""Tag rules whose verdicts are kept with a page, a byte for each tag."""
TAG_COST: Final = 60
"""Bytes of a tag beside its characters."""


@dataclass(slots=True)
class KeptPage:
    """A page, and what tag rules said of its tags."""

    page: TagPage
    cost: int = field(init=False)
    """Bytes, about, with all verdicts that may be kept."""
    _verdicts: OrderedDict[bytes, bytearray] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.cost = sum(map(len, self.page.tags)) + len(self.page.tags) * (TAG_COST + RULES)

    def verdicts(self, rule: bytes) -> bytearray:
        """For each tag 0 if `rule` was not asked yet, else `ALLOWED` or `REFUSED`; the caller fills it."""
        found = self._verdicts.pop(rule, None)
        if found is None:
            found = bytearray(len(self.page.tags))
        self._verdicts[rule] = found
        if len(self._verdicts) > RULES:
            self._verdicts.popitem(last=False)
        return found


ALLOWED: Final = 1
REFUSED: Final = 2


class TagPages:
    """Fetches pages of tags; a large one once for all who ask within some seconds."""

    def __init__(self, clock: Callable[[], float], limit: int = LIMIT) -> None:
        """`clock`: monotonic seconds. `limit`: bytes of all pages that are kept."""
        self._clock, self._limit = clock, limit
        self._kept: OrderedDict[tuple[object, ...], tuple[float, KeptPage]] = OrderedDict()
        self._together = Together()
        self.size = 0
        """Bytes of the pages that are kept, about."""

    async def fetch(self, where: Where, upstream: Upstream, repository: str, query: str, *, fresh: bool) -> KeptPage:
        """The page that `query` asks for; with `fresh` the upstream is asked. Raises its faults."""
        key = (where.registry, where.host, repository, query)
        at, kept = self._kept.get(key, (0.0, None))
        seconds = min(SECONDS, where.tag_ttl)
        if kept is not None and not fresh and self._clock() - at < seconds:
            return kept

        async def ask() -> KeptPage:
            found = KeptPage(await fetch_tag_page(upstream, repository, query))
            if len(found.page.tags) >= LARGE and seconds > 0:
                self._keep(key, found)
            return found

        return await self._together.share((fresh, *key), ask)

    def _keep(self, key: tuple[object, ...], found: KeptPage) -> None:
        now = self._clock()
        self._drop(key)
        for old in [each for each, (at, _) in self._kept.items() if now - at >= SECONDS]:
            self._drop(old)
        self._kept[key] = (now, found)
        self.size += found.cost
        while self.size > self._limit:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: tuple[object, ...]) -> None:
        _, kept = self._kept.pop(key, (0.0, None))
        self.size -= kept.cost if kept is not None else 0

    async def close(self) -> None:
        """End the requests that run."""
        await self._together.close()
