"""Blobs as files. Every function here blocks: it runs in a thread, but for those that say that they are quick.

    ROOT/blobs/sha256/ab/abcd…      whole and verified once, mode 0400
    ROOT/incoming/sha256-abcd…-1f…  on its way from one place
    ROOT/proofs                     which places may be served what (see proof_file)
    ROOT/lock                       held by the one proxy that uses ROOT

A file is *proven* while its modification time is the stamp of this run: the verification sets it, and any write to the
file changes it. So what an earlier run left (a crash of the machine may have torn it) and what was changed under us
is hashed before it is served, and an fstat is all that it takes to know.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pullgate.oci.digest import is_digest
from pullgate_proxy.cache.blobs.ask import Place

READ: Final = 1024 * 1024
SPARE_BYTES: Final = 32 * 1024 * 1024
SPARE_INODES: Final = 64
_FIRST_STAMP, _STAMPS = 978_307_200, 600_000_000
"""Whole seconds from 2001 to 2020, which every file system keeps, and no clock of today writes."""


class CacheUnusable(OSError):
    """The directory cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """A blob's file, open for reading."""

    file: io.FileIO
    size: int
    changed: int
    """When it was written to last (nanoseconds, as its file system says)."""
    inode: int
    proven: bool


class BlobDir:
    """One directory of blobs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stamp = _FIRST_STAMP + secrets.randbelow(_STAMPS)
        self._lock: int | None = None

    # --- by the process that keeps it ---

    def prepare(self) -> None:
        """Take the directory, and throw away what was on its way. Raises CacheUnusable."""
        try:
            for path in (self.root, self.root / "blobs", self.root / "incoming"):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
            for entry in os.scandir(self.root / "incoming"):
                os.unlink(entry.path)
        except OSError as error:
            self.release()
            raise CacheUnusable(error.errno, f"{self.root}: {error.strerror or error}") from error

    def release(self) -> None:
        """Give the directory back. Quick."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        lock = os.open(self.root / "lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise OSError(errno.EBUSY, "another proxy uses it") from None
        self._lock = lock

    def begin(self, place: Place) -> Path:
        """An empty file for a blob that comes in."""
        path = self.incoming(place)
        self.remove(path)  # of an earlier try, from a disk that failed
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            os.close(os.open(path, flags, 0o600))
        except FileNotFoundError:  # somebody cleared the directory
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, flags, 0o600))
        return path

    def publish(self, place: Place) -> None:
        """The file that came in is whole, verified and sealed. It replaces the same blob from another place."""
        target = self.path(place.digest)
        source = self.incoming(place)
        try:
            os.rename(source, target)
        except FileNotFoundError:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.rename(source, target)

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def scan(self) -> Iterator[list[tuple[str, int]]]:
        """Digest and size of each blob, by folder, the one that was changed longest ago first."""
        for algorithm in ("sha256", "sha512"):
            top = self.root / "blobs" / algorithm
            for folder in sorted(os.listdir(top)) if top.is_dir() else ():
                yield self._scan_folder(algorithm, top / folder)

    def _scan_folder(self, algorithm: str, folder: Path) -> list[tuple[str, int]]:
        found = []
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
            for entry in entries:
                digest = f"{algorithm}:{entry.name}"
                if is_digest(digest) and entry.is_file(follow_symlinks=False):
                    stat = entry.stat(follow_symlinks=False)
                    found.append((stat.st_ctime_ns, digest, stat.st_size))
        return [(digest, size) for _, digest, size in sorted(found)]

    def room(self) -> tuple[int, int]:
        """Bytes and inodes that are free on the file system, but for a little that is left to others. Quick."""
        stat = os.statvfs(self.root)
        spare = min(SPARE_BYTES, stat.f_blocks * stat.f_frsize // 50)
        # Some file systems (btrfs) know no bound of inodes, and say 0.
        inodes = stat.f_favail - SPARE_INODES if stat.f_files else 2**62
        return stat.f_bavail * stat.f_frsize - spare, inodes

    # --- by writers and readers ---

    def path(self, digest: str) -> Path:
        """The path of a complete blob."""
        algorithm, _, name = digest.partition(":")
        return self.root / "blobs" / algorithm / name[:2] / name

    def incoming(self, place: Place) -> Path:
        """The file of a blob while it comes in from one place: nobody else's upstream can write or delay it."""
        return self.root / "incoming" / f"{place.digest.replace(':', '-')}-{place.key}"

    def open(self, digest: str) -> Found | None:
        """Open a complete blob; None if there is none. Quick: no byte of it is read."""
        try:
            file = open_file(self.path(digest))
        except FileNotFoundError:
            return None
        stat = os.fstat(file.fileno())
        return Found(file, stat.st_size, stat.st_mtime_ns, stat.st_ino, self.is_proven(stat))

    def is_proven(self, stat: os.stat_result) -> bool:
        """True if a process of this run verified the file, and nobody wrote to it since. Quick.

        An empty one never is, as no empty blob is kept: it was cut between its last byte's hash and its seal.
        """
        return stat.st_size > 0 and int(stat.st_mtime) == self.stamp and stat.st_mtime_ns % 1_000_000_000 == 0

    def seal(self, descriptor: int) -> None:
        """Note that the file's content was verified."""
        os.fchmod(descriptor, 0o400)
        os.utime(descriptor, (self.stamp, self.stamp))

    def verify(self, digest: str, file: io.FileIO) -> bool:
        """Hash the whole file; where it is what `digest` names it is proven from now on.

        Not so where somebody writes to it meanwhile: behind the hash's back what it has passed may be changed.
        """
        descriptor = file.fileno()
        with contextlib.suppress(OSError):  # a disk that is read-only now: it is hashed each time
            os.utime(descriptor, (self.stamp + 1, self.stamp + 1))  # any write changes it
        before = os.fstat(descriptor).st_mtime_ns
        if hash_file(digest, file) != digest.partition(":")[2]:
            return False
        after = os.fstat(descriptor)
        if after.st_mtime_ns != before and not self.is_proven(after):  # another reader may have verified it, too
            return False
        with contextlib.suppress(OSError):
            self.seal(descriptor)
        return True


def open_file(path: Path) -> io.FileIO:
    """`path` for reading; never a link's target. Quick."""
    return io.FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb")


def hash_file(digest: str, file: io.FileIO, size: int | None = None) -> str:
    """The hexadecimal hash of the first `size` bytes (all, where None), by the algorithm of `digest`."""
    return hasher_of_file(digest, file, size).hexdigest()


def hasher_of_file(digest: str, file: io.FileIO, size: int | None = None) -> hashlib._Hash:
    """A hash that has taken in the first `size` bytes (all, where None). Raises OSError if the file is shorter."""
    hasher = hashlib.new(digest.partition(":")[0])
    buffer = memoryview(bytearray(READ))
    offset = 0
    while size is None or offset < size:
        wanted = buffer if size is None else buffer[: min(READ, size - offset)]
        count = os.preadv(file.fileno(), [wanted], offset)
        if not count:
            break
        hasher.update(wanted[:count])
        offset += count
    if size is not None and offset < size:
        raise OSError(errno.EIO, "the file is shorter than it was")
    return hasher
