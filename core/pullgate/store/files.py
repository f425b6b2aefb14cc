"""Files on disk: what is there, and writing them whole. Blocking; called in a thread."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SUFFIXES = (".yaml", ".yml", ".json")
FILE_LIMIT = 16 * 1024 * 1024


class Signature(NamedTuple):
    """Tells one content of a file from another without reading it."""

    mtime_ns: int
    size: int
    inode: int


def list_files(root: Path) -> dict[str, Signature]:
    """The YAML and JSON files below `root`, by relative path. Hidden folders and files are passed over.

    Raises OSError when a folder cannot be read: what it holds is then unknown, not gone.
    """
    return dict(_walk(root, ""))


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, Signature]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except FileNotFoundError:
        if prefix:  # removed since its parent was listed
            return
        raise
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
        elif entry.name.endswith(SUFFIXES):
            with contextlib.suppress(FileNotFoundError):
                found = entry.stat()
                if stat.S_ISREG(found.st_mode):
                    yield f"{prefix}{entry.name}", sign(found)


def sign(found: os.stat_result) -> Signature:
    """The signature of a file by its stat."""
    return Signature(found.st_mtime_ns, found.st_size, found.st_ino)


def read_text(path: Path) -> str:
    """The text of a file of bounded size. Raises OSError, ValueError with words for people."""
    if path.stat().st_size > FILE_LIMIT:
        raise ValueError(f"is larger than {FILE_LIMIT // 1024 // 1024} MiB; split it")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None


def write_whole(path: Path, text: str) -> Signature:
    """Put `text` at `path` in one step, readable by the owner only; after a crash the old or the new one is there."""
    make_private(path.parent)
    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)  # 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            signature = sign(os.fstat(file.fileno()))
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return signature


def remove(path: Path) -> None:
    """Remove a file that may be gone already."""
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        sync_folder(path.parent)


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for the owner only."""
    missing = [folder, *folder.parents]
    for part in reversed([p for p in missing if not p.exists()]):
        part.mkdir(mode=0o700, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename or removal in `folder` last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
