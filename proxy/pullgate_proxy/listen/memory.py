"""How much memory and how many descriptors the process has, and may have: what Linux says of it under /proc and /sys.

Everything here is read from the kernel's own files, which takes microseconds and never waits for a disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_NO_LIMIT: Final = 1 << 60
"""Bytes from which on a limit is cgroup v1's way to say that there is none."""


def read_resident() -> int:
    """Bytes of the process that are in memory (proc(5), statm); 0 if that is not told."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def count_descriptors() -> int:
    """Descriptors that are open; 0 if that is not told. Since Linux 6.2 the directory's size is their number."""
    try:
        return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def find_memory_limit(own: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that the cgroup of the process and those above it allow; None if none of them says.

    Version 2 keeps it in memory.max, version 1 in memory.limit_in_bytes below its own mount. In a container the path
    of the cgroup is often one that only the host sees: then the limit stands at the mount itself.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    found = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            found += [_read_limits(root, path, "memory.max") for root in (mount, mount / "unified")]
        elif "memory" in controllers.split(","):
            found.append(_read_limits(mount / "memory", path, "memory.limit_in_bytes"))
    limits = [limit for limits in found for limit in limits]
    return min(limits, default=None)


def _read_limits(root: Path, path: str, name: str) -> list[int]:
    """The limits (bytes) of the cgroup `path` and of each above it, without those that mean "unlimited"."""
    found = []
    steps = [step for step in path.split("/") if step not in {"", ".", ".."}]
    for count in range(len(steps), -1, -1):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            limit = int(root.joinpath(*steps[:count], name).read_text())
            if 0 < limit < _NO_LIMIT:
                found.append(limit)
    return found


def give_back() -> None:
    """Hand free memory back to the system (malloc_trim(3)), which glibc otherwise keeps; nothing if it has none."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
