"""Waiting for an effect in a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.support.cluster.kubectl import KubectlFailed

PATIENCE = 45.0


def until(check: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """The first true result of `check`, which may fail before."""
    end = time.monotonic() + seconds
    while True:
        try:
            found = check()
        except (KubectlFailed, OSError, KeyError):
            if time.monotonic() > end:
                raise
            found = None
        if found:
            return found
        assert time.monotonic() < end, f"it did not come true in {seconds} s"
        time.sleep(0.1)
