"""New tries for what may pass by itself, within a bound of tries and of time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pullgate import faults
from pullgate.upstream.failures import Transient

RETRIES = 2
_FIRST_WAIT = 0.2
_LONGEST_WAIT = 2.0

T = TypeVar("T")


def wait_before(retry: int) -> float:
    """Seconds to wait before the `retry`th new try (from 0): full jitter, so that many clients do not come at once."""
    return random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2**retry))  # noqa: S311 - no secret hangs on it


async def with_retries(attempt: Callable[[], Awaitable[T]], *, host: str, total: float, retries: int = RETRIES) -> T:
    """Return the result of `attempt`; retry while it raises `Transient`. `attempt` must change nothing upstream.

    Raises the last fault after `retries` retries or `total` seconds; UpstreamTimeout if there was none by then.
    """
    last: faults.Fault | None = None
    tries = 0
    try:
        async with asyncio.timeout(total):
            while True:
                try:
                    return await attempt()
                except Transient as transient:
                    last = transient.fault
                if tries == retries:
                    break
                await asyncio.sleep(wait_before(tries))
                tries += 1
    except TimeoutError:
        last = last or faults.UpstreamTimeout(host, total)
    raise last
