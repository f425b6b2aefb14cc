"""How far a search for a digest has come: what is still to be looked at, in the order of what most pulls need. Pure."""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pullgate.oci.digest import subject_of_tag
from pullgate_proxy.pipeline.lists import TagPage

PAGE_LIMIT = 200
TAG_LIMIT = 20_000
"""Allowed tags that are resolved, the newest versions first; and as many that are named after a digest."""
MANIFEST_LIMIT = 50_000
KEPT = 16
"""Searches that are not at their end; each holds up to some 10 MiB."""
KEPT_SECONDS = 300.0
"""For which a search that a bound stopped waits to be continued."""


@dataclass(slots=True)
class Search:
    """The queues of one scope."""

    query: str | None = "n=1000"
    """Of the next page of tags; None once all are listed."""
    asked: set[str] = field(default_factory=set)
    tags: deque[str] = field(default_factory=deque)
    """Allowed, and not resolved yet."""
    about: deque[str] = field(default_factory=deque)
    """Tags that are named after a digest."""
    manifests: deque[str] = field(default_factory=deque)
    """Granted, and not read yet."""
    subjects: deque[str] = field(default_factory=deque)
    """Granted manifests whose referrers were not asked for yet."""
    seen: set[str] = field(default_factory=set)
    names_subjects: bool = False
    """Whether tags named after a digest are tried, since no list of tags shows them."""
    complete: bool = True
    """False: a bound left something out."""

    @property
    def has_more(self) -> bool:
        """Whether anything is left to look at."""
        return self.query is not None or bool(self.tags or self.about or self.manifests or self.subjects)

    def take_page(self, page: TagPage, allows: Callable[[str], bool]) -> None:
        """The next page of tags. A cursor that repeats ends the list: it would go on without end."""
        self.asked.add(self.query or "")
        self.take_tags(filter(allows, page.tags))
        self.about.extend(tag for tag in page.tags if subject_of_tag(tag) is not None)
        self.complete &= len(self.about) <= TAG_LIMIT
        while len(self.about) > TAG_LIMIT:
            self.about.popleft()
        if page.next_query is None or page.next_query in self.asked:
            self.end_list()
        elif len(self.asked) >= PAGE_LIMIT:
            self.complete = False
            self.end_list()
        else:
            self.query = page.next_query

    def take_tags(self, tags: Iterable[str]) -> None:
        """Tags that may be pulled."""
        self.tags.extend(tags)

    def end_list(self) -> None:
        """No page is left."""
        self.query = None
        self.complete &= len(self.tags) <= TAG_LIMIT
        self.tags = deque(sorted(self.tags, key=version_key, reverse=True)[:TAG_LIMIT])

    def take_manifest(self, digest: str) -> None:
        """A manifest that may be pulled: it is read, and its referrers are asked for, once."""
        if digest in self.seen:
            return
        if len(self.seen) >= MANIFEST_LIMIT:
            self.complete = False
            return
        self.seen.add(digest)
        self.manifests.append(digest)
        self.subjects.append(digest)


class Searches:
    """Searches that stopped before their end."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[float, Search]] = OrderedDict()

    def take(self, scope: bytes) -> Search:
        """The search to continue, or a new one."""
        until, search = self._kept.pop(scope, (0.0, Search()))
        return search if self._clock() < until else Search()

    def keep(self, scope: bytes, search: Search, seconds: float) -> None:
        """To be continued within `seconds` from now."""
        self._kept[scope] = (self._clock() + seconds, search)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)


_NUMBER = re.compile(r"(\d+)")


def version_key(tag: str) -> list[tuple[int, int, str]]:
    """A key that sorts 1.10 after 1.9."""
    return [(1, int(part[:18]), "") if part.isdecimal() else (0, 0, part) for part in _NUMBER.split(tag)]
