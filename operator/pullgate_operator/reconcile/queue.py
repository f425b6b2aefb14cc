"""What is to be reconciled: each key at most once at a time, and what time alone makes due."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime, timedelta

from pullgate.store.port import Key

FIRST_BACKOFF = 0.5
LAST_BACKOFF = 60.0


class WorkQueue:
    """Keys to work on. A key that is added while it is worked on comes again afterwards, once."""

    def __init__(self, clock: Callable[[], datetime], longest_sleep: float = 30.0) -> None:
        """`longest_sleep`: seconds in which a wall clock that was set is noticed."""
        self._clock, self._longest_sleep = clock, longest_sleep
        self._waiting: dict[Key, None] = {}
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._due: dict[Key, datetime] = {}
        self._heap: list[tuple[datetime, Key]] = []
        self._filled = asyncio.Event()
        self._sooner = asyncio.Event()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is worked on; what is due later does not count."""
        return not self._waiting and not self._working

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: Key) -> None:
        """Work on `key` as soon as possible."""
        if key in self._working:
            self._again.add(key)
            return
        self._waiting[key] = None
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
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        key = next(iter(self._waiting))
        del self._waiting[key]
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """`key` was worked on."""
        self._failures.pop(key, None)
        self._leave(key)

    def failed(self, key: Key) -> float:
        """`key` could not be worked on: it comes again, later each time. Returns the seconds until then."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        wait = min(FIRST_BACKOFF * 2.0 ** min(failures - 1, 10), LAST_BACKOFF)
        self.add_at(key, self._clock() + timedelta(seconds=wait))
        self._leave(key)
        return wait

    def _leave(self, key: Key) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

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
            self.add(key)
        return self._longest_sleep
