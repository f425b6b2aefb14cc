"""What clients' connections may cost."""

from __future__ import annotations

import contextlib
import resource


def raise_descriptor_limit() -> int:
    """Take as many file descriptors as the process may have; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft
