"""The memory of a process that holds keys and credentials is nobody else's."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4
"""prctl(2)."""


def keep_memory_private() -> None:
    """From now on no core file is made of this process, and no other of its user may read or trace it. Raises OSError.

    The limit alone does not keep the kernel from handing a core to a program (core(5): a `core_pattern` that is a
    pipe); not being dumpable does. Forked processes inherit both, a new program (execve) the limit only: each process
    of Pullgate calls it at its start.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
