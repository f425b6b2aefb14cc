"""A client that asks again for a blob that it was just sent whole may have found it damaged: then it is hashed first.

Nothing else would find a byte that the disk itself changed, and the client could ask for ever. Pure but for the clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

AGAIN_SECONDS: Final = 300.0
"""After which asking again means nothing."""
REST_SECONDS: Final = 600.0
"""A blob that was hashed for this is not hashed for it again so soon, for any reader."""
LIMIT: Final = 10_000


class Suspicion:
    """The blobs that were sent lately, by reader; the oldest is forgotten first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sent: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._looked: OrderedDict[str, float] = OrderedDict()

    def note(self, reader: str, digest: str) -> None:
        """`reader` was sent the whole blob."""
        self._sent[reader, digest] = self._clock()
        self._sent.move_to_end((reader, digest))
        if len(self._sent) > LIMIT:
            self._sent.popitem(last=False)

    def forget(self, digest: str) -> None:
        """Forget when the blob was hashed: another copy, not yet hashed, replaces it."""
        self._looked.pop(digest, None)

    def falls_on(self, reader: str, digest: str) -> bool:
        """True if the blob should be hashed before it is sent to `reader` again."""
        now = self._clock()
        sent = self._sent.pop((reader, digest), None)
        if sent is None or now - sent > AGAIN_SECONDS:
            return False
        looked = self._looked.get(digest)
        if looked is not None and now - looked < REST_SECONDS:
            return False
        self._looked[digest] = now
        self._looked.move_to_end(digest)
        if len(self._looked) > LIMIT:
            self._looked.popitem(last=False)
        return True
