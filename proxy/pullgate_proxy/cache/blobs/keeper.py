"""The disk's index: grants the right to write a blob, and evicts blobs to make room.

A disk that fails costs the cache and no pull: nothing is claimed for a while, then it is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pullgate_proxy.cache.blobs.ask import Place
from pullgate_proxy.cache.blobs.disk import BlobDir
from pullgate_proxy.cache.blobs.eviction import S3Fifo
from pullgate_proxy.cache.blobs.proof_file import ProofFile

FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 60.0
"""Seconds for which a disk that failed is left alone."""
LARGEST_SHARE: Final = 0.5
"""Size of the largest blob that is kept, as a share of the bound."""

REMOVALS: Final = ("evicted", "damaged")
"""Why a blob goes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be kept."""

    size: int
    """Bytes, those on their way included."""
    files: int


class Keeper:
    """The index of one BlobDir. Blocking calls run in threads."""

    def __init__(
        self,
        directory: BlobDir,
        bounds: Bounds,
        on_removed: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_removed` receives the reason for a removal, one of REMOVALS."""
        self.directory = directory
        self._bounds, self._on_removed, self._clock = bounds, on_removed, clock
        self._kept = S3Fifo()
        self._proofs = ProofFile(directory.root / "proofs")
        self._incoming: dict[Place, int] = {}
        self._pins: Counter[str] = Counter()
        self._ready = False
        """True if this process has the directory for itself."""
        self._pause, self._again_at = FIRST_PAUSE, 0.0
        self._problem = ""
        self._room = asyncio.Lock()
        self._scan: asyncio.Task[None] | None = None

    # --- life ---

    async def start(self) -> None:
        """Take the directory; if that fails, retry later. The scan of its content runs in the background."""
        await self._prepare()

    async def stop(self) -> None:
        """Give the directory back."""
        if self._scan is not None:
            self._scan.cancel()
            await asyncio.gather(self._scan, return_exceptions=True)
        if self._ready:
            await self._save_proofs()
        self.directory.release()

    async def _prepare(self) -> bool:
        try:
            await asyncio.to_thread(self.directory.prepare)
        except OSError as error:
            self.failed(error)
            return False
        await self._proofs.load()  # before anything is served: a place without its proof fetches again
        self._ready = True
        self._scan = asyncio.create_task(self._look_around(), name="scan the blob cache")
        return True

    async def _look_around(self) -> None:
        """Take what an earlier run left into the index."""
        folders = self.directory.scan()
        try:
            while (found := await asyncio.to_thread(next, folders, None)) is not None:
                for digest, size in found:
                    if digest not in self._kept:
                        self._kept.add(digest, size, known=True)
            coming = {place.digest for place in self._incoming}
            self._proofs.retain(lambda digest: digest in self._kept or digest in coming)
            await self._save_proofs()
            async with self._room:
                await self._make_room(0, 0)
        except OSError as error:
            self.failed(error)

    # --- reported state ---

    @property
    def size(self) -> int:
        """Bytes that are kept or reserved."""
        return self._kept.size + sum(self._incoming.values())

    @property
    def files(self) -> int:
        """Blobs that are kept or on their way."""
        return len(self._kept) + len(self._incoming)

    @property
    def problem(self) -> str:
        """Why nothing new is kept just now; empty if all is well."""
        return self._problem

    @property
    def usable(self) -> bool:
        """True if a blob may be claimed now, as far as is known."""
        return not self._problem or self._clock() >= self._again_at

    # --- claims ---

    def is_proven(self, place: Place) -> bool:
        """True if the upstream of `place` has delivered the blob once, whole and verified."""
        return place in self._proofs

    async def claim(self, place: Place, size: int) -> Path | None:
        """A file for a blob of `size` bytes; `commit` or `abandon` must follow. None: the blob is not kept."""
        if size > self._bounds.size * LARGEST_SHARE or not self.usable or place in self._incoming:
            return None
        async with self._room:
            if not self._ready and not await self._prepare():
                return None
            try:
                if place in self._incoming or not await self._make_room(size, 1):
                    return None
                path = await asyncio.to_thread(self.directory.begin, place)
            except OSError as error:
                self.failed(error)
                return None
            self._incoming[place] = size
            return path

    async def commit(self, place: Place) -> bool:
        """Keep the claimed blob, complete, verified and sealed: `place` is proven. True if it is kept."""
        size = self._incoming[place]
        self._proofs.add(place)  # before its file can be met under the blob's own name
        try:
            await asyncio.to_thread(self.directory.publish, place)
        except OSError as error:
            self.failed(error)
            if place.digest not in self._kept:
                self._proofs.forget(place.digest)
            await self.abandon(place)
            return False
        self._incoming.pop(place, None)
        if place not in self._proofs:  # another place found the file missing meanwhile
            self._proofs.add(place)
        # A blob that comes from a second place is one that many share.
        self._kept.add(place.digest, size, known=place.digest in self._kept)
        self._mended()
        await self._save_proofs()
        return True

    async def abandon(self, place: Place) -> None:
        """The blob will not come, or is not kept."""
        if place not in self._incoming:
            return
        # A file that cannot be removed from a disk that fails goes with the next start.
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self.directory.remove, self.directory.incoming(place))
        self._incoming.pop(place, None)

    async def _save_proofs(self) -> None:
        try:
            await self._proofs.save()
        except OSError as error:
            self.failed(error)

    def failed(self, error: OSError) -> None:
        """The disk does not do what it should: nothing is claimed for a while."""
        words = f"{self.directory.root}: {error.strerror or error}" if error.filename is None else str(error)
        if not self._problem:
            log.warning("blobs are not kept for now, and streamed: %s", words)
            self._pause = FIRST_PAUSE
        else:
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self._problem = words
        self._again_at = self._clock() + self._pause

    def _mended(self) -> None:
        if self._problem:
            log.warning("blobs are kept again in %s", self.directory.root)
        self._problem = ""

    # --- what is read ---

    def pin(self, digest: str) -> None:
        """Somebody reads it: it is not removed until `unpin`."""
        self._pins[digest] += 1
        self._kept.hit(digest)

    def unpin(self, digest: str) -> None:
        """One reader less."""
        self._pins[digest] -= 1
        if self._pins[digest] <= 0:
            del self._pins[digest]

    async def drop(self, digest: str) -> None:
        """The copy of it is not what it should be."""
        self._on_removed("damaged")
        log.warning("the copy of %s in %s is damaged: it is removed, and fetched again", digest, self.directory.root)
        self._kept.remove(digest)
        try:
            await asyncio.to_thread(self.directory.remove, self.directory.path(digest))
        except OSError as error:
            self.failed(error)
        self._proofs.forget(digest)
        await self._save_proofs()

    def missing(self, digest: str) -> None:
        """Forget a blob whose file is gone, even if another process removed the file."""
        if self.directory.path(digest).exists():  # it has come since
            return
        self._kept.remove(digest)
        self._proofs.forget(digest)

    # --- room ---

    async def _make_room(self, size: int, files: int) -> bool:
        """Evict until `size` more bytes in `files` more files fit. False if they cannot fit. Raises OSError."""
        while True:
            free_bytes, free_inodes = self.directory.room()
            fits = self.size + size <= self._bounds.size and self.files + files <= self._bounds.files
            # Blobs in flight have not yet allocated all their bytes in the file system: assume that none are.
            owed = sum(self._incoming.values())
            if fits and free_bytes >= owed + size and free_inodes >= files:
                return True
            if size and size > free_bytes + self._kept.size:
                return self._is_full()
            name = self._kept.evict(lambda digest: digest in self._pins)
            if name is None:
                return self._is_full() if size else False
            await self._evict(name)

    async def _evict(self, name: str) -> None:
        """Raises OSError if the file stays; then it counts as before, and can be evicted once the disk is well."""
        path = self.directory.path(name)
        try:
            await asyncio.to_thread(self.directory.remove, path)
        except OSError:
            with contextlib.suppress(OSError):
                self._kept.add(name, (await asyncio.to_thread(path.stat)).st_size, known=True)
            raise
        self._on_removed("evicted")
        self._proofs.forget(name)
        await self._save_proofs()

    def _is_full(self) -> bool:
        free_bytes, free_inodes = self.directory.room()
        if free_bytes <= 0 or free_inodes <= 0:
            raise OSError(errno.ENOSPC, "the disk is full")
        return False
