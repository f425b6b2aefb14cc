"""The watches of kopf, seen at its requests: it begins them again by itself, and says nothing of one that it lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import aiohttp

from pullgate.store.cluster.kinds import PLURALS

SERVER_SECONDS: Final = 300
"""The API server ends a watch after so long, and kopf asks for the next one."""
LATE_SECONDS: Final = SERVER_SECONDS + 120
"""A watch that was not asked for in so long has ended unseen (kopf #1276)."""


class Watches:
    """What is known of the watch of each kind."""

    def __init__(self, kinds: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._kinds = {PLURALS[kind]: kind for kind in kinds}
        self._clock = clock
        self._asked: dict[str, float] = {}
        """Kind -> when its watch was last begun."""
        self._problems: dict[str, str] = {}
        """Kind -> why its last list or watch was refused."""
        self.absent: set[str] = set()
        """Kinds that the API server does not know: their CRD is gone."""
        self.events: Counter[str] = Counter()
        """Events of each kind that came in."""
        self.heard: float | None = None
        """When the last event came, by the monotonic clock."""

    def begin(self) -> None:
        """kopf starts: nothing is watched yet."""
        self._asked.clear()
        self._problems.clear()

    def hear(self, kind: str) -> None:
        """An event came."""
        self.events[kind] += 1
        self.heard = self._clock()

    async def note(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """A middleware of kopf's session."""
        kind = self._kinds.get(request.url.name)
        if kind is None:
            return await send(request)
        try:
            response = await send(request)
        except (aiohttp.ClientError, OSError) as error:
            self._problems[kind] = str(error) or type(error).__name__
            raise
        if response.status >= 400:
            self._problems[kind] = f"the API server answers {response.status}"
        elif "watch" in request.url.query:
            self._problems.pop(kind, None)
            self.absent.discard(kind)
            self._asked[kind] = self._clock()
        return response

    @property
    def lost(self) -> list[str]:
        """Kinds that nobody watches any more, though the API server answers: a new process would help."""
        late = self._clock() - LATE_SECONDS
        return sorted(
            kind
            for kind, asked in self._asked.items()
            if asked < late and kind not in self._problems and kind not in self.absent
        )

    @property
    def problem(self) -> str:
        """What is not watched and why; empty where all is well."""
        words = {kind: f"{kind} is watched no more" for kind in self.lost}
        words |= {kind: f"{kind} is not watched yet" for kind in self._kinds.values() if kind not in self._asked}
        words |= {kind: f"{kind} is not watched: {why}" for kind, why in self._problems.items()}
        words |= {kind: f"{kind} is not watched: its CRD is not there" for kind in self.absent}
        return "; ".join(words[kind] for kind in sorted(words))
