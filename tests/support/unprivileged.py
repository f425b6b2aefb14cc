"""A command as the image's user runs it: without any right, wherever this machine keeps its Python."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Final

USER: Final = 65532
"""The uid that the image and deploy/manifests run as."""
_DROP: Final = f"setpriv --reuid={USER} --regid={USER} --clear-groups --bounding-set=-all --no-new-privs"
_REPOSITORY: Final = Path(__file__).parents[2]


def unprivileged(empty: Path) -> list[str]:
    """The prefix of a command that runs without privileges; `empty` is an unused folder, for a mount of its own.

    A folder on the way to Python that is for root alone (/root) is opened to all in a namespace of mounts that only
    the command sees.
    """
    needed = (Path(sys.executable).resolve(), Path(sys.base_prefix), Path(sys.prefix), _REPOSITORY)
    closed = {path for start in needed for path in start.parents if not path.stat().st_mode & 0o001}
    lines = [f"mount -t tmpfs none {shlex.quote(str(empty))}"] if closed else []
    for number, path in enumerate(sorted(closed)):
        upper, work = (shlex.quote(f"{empty}/{name}{number}") for name in ("upper", "work"))
        where = shlex.quote(str(path))
        lines.append(f"mkdir {upper} {work}")
        lines.append(f"mount -t overlay -o lowerdir={where},upperdir={upper},workdir={work} none {where}")
        lines.append(f"chmod o+x {where}")
    return ["unshare", "--mount", "sh", "-ec", "\n".join([*lines, f'exec {_DROP} "$@"']), "sh"]
