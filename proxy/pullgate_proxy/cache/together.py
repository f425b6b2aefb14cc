"""One call for all who want the same at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Together:
    """Calls under way, by key. A call goes on when the one who began it is gone: others may wait for it."""

    def __init__(self) -> None:
        self._calls: dict[tuple[object, ...], asyncio.Task[Any]] = {}

    def runs(self, key: tuple[object, ...]) -> bool:
        """True if a call with this key is under way."""
        return key in self._calls

    async def share(self, key: tuple[object, ...], call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of `call`, or of the call with the same key that is in flight."""
        task: asyncio.Task[Any] | None = self._calls.get(key)
        if task is None:
            task = asyncio.create_task(call())
            self._calls[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        answer: T = await asyncio.shield(task)
        return answer

    async def close(self) -> None:
        """End the calls that run."""
        tasks = list(self._calls.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _landed(self, key: tuple[object, ...], task: asyncio.Task[Any]) -> None:
        self._calls.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen: nobody may be left to wait for it
