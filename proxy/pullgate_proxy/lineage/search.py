"""How far a search for a digest has come: the items left to look at, those that most pulls need first.

No I/O is done here; a page of tags is taken in slices.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pullgate.oci.digest import subject_of_tag
from pullgate.turns import Turns
from pullgate_proxy.lists.documents import TagPage

PAGE_LIMIT = 200
TAG_LIMIT = 20_000
"""Allowed tags that are resolved, the newest versions first; and as many that are named after a digest."""
LISTED_SECONDS = 5.0
"""Seconds of work on tags for one search: 2,000,000 of them under a usual rule."""
MANIFEST_LIMIT = 50_000
KEPT = 16
"""Searches that are not at their end; each holds up to some 10 MiB."""
KEPT_SECONDS = 300.0
"""For which a search that a bound stopped waits to be continued."""


class Newest:
    """The TAG_LIMIT newest tags of any number. Takes a tag in a few microseconds, and 30 ms once in TAG_LIMIT tags."""

    def __init__(self, begun: Newest | None = None) -> None:
        """`begun` is copied."""
        self._tags: list[tuple[str, str]] = list(begun._tags) if begun is not None else []
        self.dropped: bool = begun is not None and begun.dropped
        """True if there were more."""

    def add(self, tag: str) -> None:
        """One more."""
        self._tags.append((version_key(tag), tag))
        if len(self._tags) >= 2 * TAG_LIMIT:
            self._cut()

    def take(self) -> list[str]:
        """The newest first; none is left here."""
        self._cut()
        tags, self._tags = [tag for _, tag in self._tags], []
        return tags

    def _cut(self) -> None:
        self._tags.sort(reverse=True)
        self.dropped |= len(self._tags) > TAG_LIMIT
        del self._tags[TAG_LIMIT:]


_NUMBER = re.compile(r"\d+", re.ASCII)
_NUMBERS = 16
"""Numbers of a tag that are compared as such; what comes behind is compared as text."""


def version_key(tag: str) -> str:
    """A key that sorts 1.10 after 1.9. It is a text, since these sort ten times faster than lists of parts.

    A number becomes `!`, which sorts before all that a tag may hold, its length as one sign, and its digits.
    """
    return _NUMBER.sub(_sortable, tag, count=_NUMBERS)


def _sortable(number: re.Match[str]) -> str:
    digits = number[0].lstrip("0")
    return f"!{chr(len(digits) + 32)}{digits}"


@dataclass(slots=True)
class Search:
    """The queues of one scope."""

    query: str | None = "n=1000"
    """The query of the next page of tags; None once all are listed."""
    asked: set[str] = field(default_factory=set)
    newest: Newest = field(default_factory=Newest)
    """Allowed tags, while pages are listed."""
    seconds: float = 0.0
    """Work on the pages so far."""
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
    """True if tags named after a digest are tried, since no list of tags shows them."""
    complete: bool = True
    """False: a bound left something out."""

    @property
    def has_more(self) -> bool:
        """True if anything is left to search."""
        return self.query is not None or bool(self.tags or self.about or self.manifests or self.subjects)

    async def take_page(self, page: TagPage, allows: Callable[[str], bool], turns: Turns) -> None:
        """The next page of tags. A cursor that repeats ends the list: it would go on without end."""
        newest, about = Newest(self.newest), list[str]()
        async with turns:
            for tag in page.tags:
                if allows(tag):
                    newest.add(tag)
                if subject_of_tag(tag) is not None:
                    about.append(tag)
                await turns.give()
                if self.seconds + turns.spent >= LISTED_SECONDS:
                    self.complete = False
                    break
        # A time-out that comes in between leaves the search as it was, so that no tag is taken twice.
        self.newest, self.seconds = newest, self.seconds + turns.spent
        self.asked.add(self.query or "")
        self.about.extend(about)
        self.complete &= len(self.about) <= TAG_LIMIT
        while len(self.about) > TAG_LIMIT:
            self.about.popleft()
        if page.next_query is None or page.next_query in self.asked:
            self.end_list()
        elif len(self.asked) >= PAGE_LIMIT or self.seconds >= LISTED_SECONDS:
            self.complete = False
            self.end_list()
        else:
            self.query = page.next_query

    def take_tags(self, tags: Iterable[str]) -> None:
        """Tags that may be pulled."""
        for tag in tags:
            self.newest.add(tag)

    def end_list(self) -> None:
        """No page is left."""
        self.query = None
        self.tags.extend(self.newest.take())
        self.complete &= not self.newest.dropped

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
