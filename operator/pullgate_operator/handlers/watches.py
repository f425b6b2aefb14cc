"""The watches of kopf, seen at its requests: it begins them again by itself, and says nothing of one that it lost.

kopf lists before it watches, and works on each document of the list by itself: with thousands of Licenses that takes
longer than all that the operator does with them, and a change waits behind it. So its list is made to be empty, and
the operator, which has listed before, looks once more what it missed until the watch began.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import aiohttp

from pullgate.store.cluster.kinds import PLURALS

SERVER_SECONDS: Final = 300
"""The API server ends a watch after so long, and kopf asks for the next one."""
NOBODY: Final = "metadata.name=listed-by-the-operator"
"""A field selector: of no document."""
CRDS: Final = "customresourcedefinitions"
RETRIED: Final = frozenset({401, 403, 429})
"""Refusals that kopf asks again after. At any other one it ends, and leaves its other watches behind for ever."""
LATE_SECONDS: Final = SERVER_SECONDS + 120
"""A watch that was not asked for in so long has ended unseen (kopf #1276)."""


class Watches:
    """The state of the watch of each kind."""

    def __init__(
        self, kinds: Iterable[str], begin_again: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`begin_again` ends kopf in order: it is called where kopf would fall over an answer."""
        self._kinds = {PLURALS[kind]: kind for kind in kinds}
        self._begin_again = begin_again
        self._clock = clock
        self._asked: dict[str, float] = {}
        """Kind -> when its watch was last begun."""
        self._problems: dict[str, str] = {}
        """Kind -> why its last list or watch was refused."""
        self.refused = ""
        """The answer for which kopf was ended, in words."""
        self._listed: set[str] = set()
        self._wake = asyncio.Event()
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
        self._listed.clear()
        self._wake.clear()
        self.refused = ""

    def lose(self, kind: str) -> None:
        """Its CRD is gone, and its watch with it."""
        self.absent.add(kind)
        self._asked.pop(kind, None)
        self._problems.pop(kind, None)

    def hear(self, kind: str) -> None:
        """An event came."""
        self.events[kind] += 1
        self.heard = self._clock()

    def note_list(self, kind: str) -> None:
        """kopf has listed `kind`."""
        self._listed.add(kind)
        self._wake.set()

    async def wait_for_list(self) -> set[str]:
        """Kinds that kopf has listed, each once: what came before its watch is to be looked for."""
        await self._wake.wait()
        self._wake.clear()
        kinds, self._listed = self._listed, set()
        return kinds

    async def note(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """A middleware of kopf's session."""
        kind = self._kinds.get(request.url.name)
        if kind is None and request.url.name != CRDS:
            return await send(request)
        watching = "watch" in request.url.query
        if kind is not None and not watching:
            request.url = request.url.update_query(fieldSelector=NOBODY)
        try:
            response = await send(request)
        except (aiohttp.ClientError, OSError) as error:
            if kind is not None:
                self._problems[kind] = str(error) or type(error).__name__
            raise
        if response.status >= 400:
            words = f"the API server answers {response.status}"
            if kind is not None:
                self._problems[kind] = words
            if response.status < 500 and response.status not in RETRIED:
                response.close()
                self.refused = f"{kind or 'CustomResourceDefinition'}: {words}"
                self._begin_again()
                await asyncio.Event().wait()  # until kopf ends it
        elif kind is not None and not watching:
            self.note_list(kind)
        elif kind is not None:
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
        """The kinds that are not watched, and why; empty if all are."""
        words = {kind: f"{kind} is watched no more" for kind in self.lost}
        words |= {kind: f"{kind} is not watched yet" for kind in self._kinds.values() if kind not in self._asked}
        words |= {kind: f"{kind} is not watched: {why}" for kind, why in self._problems.items()}
        words |= {kind: f"{kind} is not watched: its CRD is not there" for kind in self.absent}
        return "; ".join(words[kind] for kind in sorted(words))
