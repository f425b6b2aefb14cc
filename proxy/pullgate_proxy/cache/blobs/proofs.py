"""The proofs: which place's own upstream has delivered a whole blob. Pure, and bounded.

A place may be served the shared copy of a blob only with such a proof. An upstream that merely says that it has a blob
proves nothing: it may repeat a digest that it heard of.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from pullgate_proxy.cache.blobs.ask import Place
from pullgate_proxy.cache.evenly import Evenly

LIMIT: Final = 100_000
"""Proofs in all, some 500 bytes each (tracemalloc, Python 3.13).

Beyond it the app with the most proofs loses its oldest, and has to prove that place again.
"""

_LINE: Final = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}) (?:([a-z0-9.-]{1,253}) ([0-9a-f]{32})|-)")


class Proofs:
    """Places by digest and by app. Every operation takes constant time, but for a look at all apps at the limit."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._of_digest: dict[str, set[Place]] = {}
        self._of_app: Evenly[Place, None] = Evenly(limit)

    def __len__(self) -> int:
        return self._of_app.size

    def __iter__(self) -> Iterator[Place]:
        return self._of_app.keys()

    def __contains__(self, place: Place) -> bool:
        return place in self._of_digest.get(place.digest, ())

    def add(self, place: Place) -> None:
        """Note that the upstream of `place` delivered the blob, whole and verified."""
        # Each request and each line of a file brings strings of its own; many proofs are of one blob or app.
        place = Place(sys.intern(place.digest), sys.intern(place.app), place.key)
        self._of_digest.setdefault(place.digest, set()).add(place)
        for gone in self._of_app.put(place.app, place, None):
            self._forget_digest_of(gone)

    def forget(self, digest: str) -> bool:
        """Remove all proofs of a blob that is not kept any more; returns if there were any."""
        found = self._of_digest.pop(digest, set())
        for place in found:
            self._of_app.remove(place.app, place)
        return bool(found)

    def digests(self) -> list[str]:
        """The blobs that have a proof."""
        return list(self._of_digest)

    def _forget_digest_of(self, place: Place) -> None:
        same_blob = self._of_digest[place.digest]
        same_blob.remove(place)
        if not same_blob:
            del self._of_digest[place.digest]


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
