"""Servers that outlive one test's event loop: they run in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

T = TypeVar("T")
START_SECONDS = 60.0


@contextlib.contextmanager
def in_background(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enter `context` in a thread, and leave it there at the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="background servers", daemon=True)
    thread.start()
    try:
        entered = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result(START_SECONDS)
        try:
            yield entered
        finally:
            asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result(START_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_SECONDS)
        loop.close()
