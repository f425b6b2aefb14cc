"""The proofs with a file of their own, so that they survive a restart; a warm disk would be of no use without them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pullgate_proxy.cache.blobs.ask import Place
from pullgate_proxy.cache.blobs.proofs import LIMIT, Proofs, replay, write_end, write_proof

READ_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of the file that are read at the start: several times what the file may grow to."""
SLACK: Final = 1000
"""Lines beyond twice the proofs after which the file is written anew."""


class ProofFile:
    """Proofs, and their file: a line for each proof, and one for each blob that went.

    The file lags behind the memory, never ahead: what a crash loses is proven again.
    """

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self._path = path
        self._proofs = Proofs(limit)
        self._pending: list[str] = []
        self._lines = 0
        """Lines in the file."""
        self._must_rewrite = False
        self._saving = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._proofs)

    def __contains__(self, place: Place) -> bool:
        return place in self._proofs

    async def load(self) -> None:
        """Take in what an earlier run left. A file that cannot be read leaves the proofs as they are."""
        lines: list[str] = []
        with contextlib.suppress(OSError):
            lines = await asyncio.to_thread(self._read)
        replay(lines, self._proofs.add, self._proofs.forget)
        self._must_rewrite = True  # its last line may be torn

    def add(self, place: Place) -> None:
        """The upstream of `place` has delivered the blob, whole and verified. See `save`."""
        self._proofs.add(place)
        self._pending.append(write_proof(place))

    def forget(self, digest: str) -> None:
        """The blob is not kept any more, and its proofs go with it. See `save`."""
        if self._proofs.forget(digest):
            self._pending.append(write_end(digest))

    def retain(self, is_kept: Callable[[str], bool]) -> None:
        """Forget the blobs that are not kept."""
        for digest in self._proofs.digests():
            if not is_kept(digest):
                self.forget(digest)

    async def save(self) -> None:
        """Write what is not in the file yet. Raises OSError; a later call then writes all anew."""
        # A caller that is cancelled leaves its thread behind: the lock is held until that has ended.
        await asyncio.shield(self._save())

    async def _save(self) -> None:
        async with self._saving:
            must_rewrite = self._must_rewrite or self._lines + len(self._pending) > 2 * len(self._proofs) + SLACK
            lines = [write_proof(place) for place in self._proofs] if must_rewrite else self._pending
            self._pending = []
            if not (lines or must_rewrite):
                return
            self._must_rewrite = True
            await asyncio.to_thread(self._rewrite if must_rewrite else self._append, "".join(lines))
            self._must_rewrite = False
            self._lines = len(lines) + (0 if must_rewrite else self._lines)

    # --- in a thread ---

    def _read(self) -> list[str]:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with open(descriptor, "rb") as file:
            return file.read(READ_LIMIT).decode("ascii", "replace").splitlines()

    def _append(self, text: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(self._path, flags, 0o600), "ab") as file:
            file.write(text.encode())

    def _rewrite(self, text: str) -> None:
        beside = self._path.with_name(f"{self._path.name}.new")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(text.encode())
        os.replace(beside, self._path)
