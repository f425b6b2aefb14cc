"""The proofs: which place's own upstream has delivered a whole blob. Pure, and bounded.

A place may be served the shared copy of a blob only with such a proof. An upstream that merely says that it has a blob
proves nothing: it may repeat a digest that it heard of.
"""

from __future__ import annotations

import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from pullgate_proxy.cache.ask import Place

LIMIT: Final = 100_000
"""Proofs in all, some 500 bytes each (tracemalloc, Python 3.13).

Beyond it the app with the most proofs loses its oldest, and has to prove that place again.
"""

_LINE: Final = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}) (?:([a-z0-9.-]{1,253}) ([0-9a-f]{32})|-)")


class Proofs:
    """Places by digest and by app. Every operation takes constant time, but for a look at all apps at the limit."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._of_digest: dict[str, set[Place]] = {}
        self._of_app: dict[str, OrderedDict[Place, None]] = {}
        """App -> its places, the oldest proof first."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Place]:
        for places in self._of_app.values():
            yield from places

    def __contains__(self, place: Place) -> bool:
        return place in self._of_digest.get(place.digest, ())

    def add(self, place: Place) -> None:
        """Note that the upstream of `place` delivered the blob, whole and verified."""
        self._remove(place)
        # Each request and each line of a file brings strings of its own; many proofs are of one blob or app.
        place = Place(sys.intern(place.digest), sys.intern(place.app), place.key)
        self._of_digest.setdefault(place.digest, set()).add(place)
        self._of_app.setdefault(place.app, OrderedDict())[place] = None
        self._size += 1
        if self._size > self._limit:
            # An app that fills the table displaces its own proofs and nobody else's.
            largest = max(self._of_app.values(), key=len)
            self._remove(next(iter(largest)))

    def forget(self, digest: str) -> bool:
        """Remove all proofs of a blob that is not kept any more; returns if there were any."""
        found = list(self._of_digest.get(digest, ()))
        for place in found:
            self._remove(place)
        return bool(found)

    def digests(self) -> list[str]:
        """The blobs that have a proof."""
        return list(self._of_digest)

    def _remove(self, place: Place) -> None:
        if place not in self:
            return
        same_blob, same_app = self._of_digest[place.digest], self._of_app[place.app]
        same_blob.remove(place)
        if not same_blob:
            del self._of_digest[place.digest]
        del same_app[place]
        if not same_app:
            del self._of_app[place.app]
        self._size -= 1


def write_proof(place: Place) -> str:
    """The line of a proof."""
    return f"{place.digest} {place.app} {place.key}\n"


def write_end(digest: str) -> str:
    """The line that ends all proofs of `digest` that stand before it."""
    return f"{digest} -\n"


def replay(lines: Iterable[str], add: Callable[[Place], None], forget: Callable[[str], object]) -> None:
    """Do again what `lines` note, in their order. A line that is torn or malformed notes nothing."""
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        digest, app, key = found.groups()
        if app is None:
            forget(digest)
        else:
            add(Place(digest, app, key))
