"""Queue of keys to reconcile: each at most once at a time, changes first, and keys that fall due by time."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from pullgate.store.port import Key
from pullgate.store.rounds import Rounds

FIRST_BACKOFF = 0.5
LAST_BACKOFF = 60.0
CHANGES_IN_A_ROW: Final = 4
"""After so many changes one key of a pass comes, if there is one: changes without pause must not starve a pass."""

TURNS: Final = 30
"""Turns of the loop that a key of a pass gives way to all else: an event of a watch needs several to get here.

Without it a new License waited 8 s for a pass of 3,000, as its event came in one turn for every four keys.
"""


class WorkQueue:
    """Keys to work on: changed ones before those of a pass. Within both the namespaces take turns.

    A key that is added while it is worked on comes again afterwards, once.
    """

    def __init__(self, clock: Callable[[], datetime], longest_sleep: float = 30.0) -> None:
        """`longest_sleep`: seconds in which a wall clock that was set is noticed."""
        self._clock, self._longest_sleep = clock, longest_sleep
        self._changes, self._passes = Rounds[None](), Rounds[None]()
        self._in_a_row = 0
        """Changes that were taken since the last key of a pass."""
        self._working: dict[Key, bool] = {}
        """Keys being worked on -> True if taken as a change."""
        self._again: dict[Key, bool] = {}
        """Keys to queue again after the present work -> True if as a change."""
        self._failures: dict[Key, int] = {}
        self._failed_changes: set[Key] = set()
        self._due: dict[Key, datetime] = {}
        self._heap: list[tuple[datetime, Key]] = []
        self._filled = asyncio.Event()
        self._sooner = asyncio.Event()

    @property
    def idle(self) -> bool:
        """True if no key waits or is worked on; keys that are due later do not count."""
        return not len(self) and not self._working

    def __len__(self) -> int:
        return len(self._changes) + len(self._passes)

    def add(self, key: Key) -> None:
        """Work on `key` soon: it changed, or what it names did."""
        if key in self._working:
            self._again[key] = True
            return
        self._passes.discard(key)
        self._changes.put(key, None)
        self._filled.set()

    def add_to_pass(self, key: Key) -> None:
        """Work on `key` after what changed: one of many that are looked at again."""
        if key in self._working:
            self._again.setdefault(key, False)
        elif key not in self._changes:
            self._passes.put(key, None)
            self._filled.set()

    def add_at(self, key: Key, when: datetime | None) -> None:
        """Work on `key` at `when`, in the place of an earlier wish; None: no wish."""
        if when is None:
            self._due.pop(key, None)
            return
        if self._due.get(key) != when:
            self._due[key] = when
            heapq.heappush(self._heap, (when, key))
            self._sooner.set()

    def add_by(self, key: Key, when: datetime) -> None:
        """Work on `key` at `when`, unless it is due earlier."""
        due = self._due.get(key)
        if due is None or when < due:
            self.add_at(key, when)

    async def take(self) -> Key:
        """The next key; `done` or `failed` must follow."""
        while True:
            if not self._changes:
                await self._give_way()
            if len(self):
                break
            self._filled.clear()
            await self._filled.wait()
        is_change = bool(self._changes) and (not self._passes or self._in_a_row < CHANGES_IN_A_ROW)
        self._in_a_row = self._in_a_row + 1 if is_change else 0
        key, _ = (self._changes if is_change else self._passes).take()
        self._working[key] = is_change or key in self._failed_changes
        self._failed_changes.discard(key)
        return key

    async def _give_way(self) -> None:
        for _ in range(TURNS if self._passes else 0):
            await asyncio.sleep(0)
            if self._changes:
                return

    def done(self, key: Key) -> None:
        """`key` was worked on."""
        self._failures.pop(key, None)
        self._leave(key)

    def failed(self, key: Key) -> float:
        """`key` could not be worked on: it comes again, later each time. Returns the seconds until then."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        wait = min(FIRST_BACKOFF * 2.0 ** min(failures - 1, 10), LAST_BACKOFF)
        self.add_at(key, self._clock() + timedelta(seconds=wait))
        if self._working[key]:
            self._failed_changes.add(key)
        self._leave(key)
        return wait

    def _leave(self, key: Key) -> None:
        del self._working[key]
        if key in self._again:
            (self.add if self._again.pop(key) else self.add_to_pass)(key)

    async def run_timers(self) -> None:
        """Add what becomes due, until cancelled."""
        while True:
            self._sooner.clear()
            wait = self._add_due()
            try:
                async with asyncio.timeout(wait):
                    await self._sooner.wait()
            except TimeoutError:
                continue

    def _add_due(self) -> float:
        while self._heap:
            when, key = self._heap[0]
            if self._due.get(key) != when:  # replaced by another wish
                heapq.heappop(self._heap)
                continue
            left = (when - self._clock()).total_seconds()
            if left > 0:
                return min(left, self._longest_sleep)
            heapq.heappop(self._heap)
            del self._due[key]
            (self.add if key in self._failed_changes else self.add_to_pass)(key)
        return self._longest_sleep
