"""The part of a keeper that fetches and readers of blobs need; it may be in another process."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pullgate_proxy.cache.ask import Place
from pullgate_proxy.cache.disk import BlobDir


class Keeping(Protocol):
    """The keeper of one BlobDir; `Keeper` is the one in its own process."""

    @property
    def directory(self) -> BlobDir:
        """The directory of the files."""
        ...

    @property
    def usable(self) -> bool:
        """True if a blob may be claimed now, as far as is known."""
        ...

    @property
    def problem(self) -> str:
        """Why nothing new is kept just now; empty where all is well."""
        ...

    async def start(self) -> None:
        """Before anything else."""

    async def stop(self) -> None:
        """After everything else."""

    async def is_proven(self, place: Place) -> bool:
        """True if the upstream of `place` has delivered the blob once, whole and verified."""
        ...

    async def lead(self, place: Place) -> bool:
        """True if this process is the one to fetch a blob; `commit` or `abandon` must follow. Else see `join`."""
        ...

    async def join(self, place: Place) -> int | None:
        """The size of a blob that another process fetches, once its file is there; None where it does not come."""
        ...

    async def claim(self, place: Place, size: int) -> Path | None:
        """A file for a blob of `size` bytes that this process leads. None: it is not kept."""
        ...

    async def commit(self, place: Place) -> bool:
        """Keep the claimed blob, complete, verified and sealed: `place` is proven. True if it is kept."""
        ...

    async def abandon(self, place: Place) -> None:
        """The blob that this process leads will not come, or is not kept."""

    def failed(self, error: OSError) -> None:
        """The disk does not do what it should: nothing is claimed for a while."""

    def pin(self, digest: str) -> None:
        """Somebody reads it: it is not removed until `unpin`."""

    def unpin(self, digest: str) -> None:
        """One reader less."""

    async def drop(self, digest: str) -> None:
        """Remove the copy: it is corrupt."""

    def missing(self, digest: str) -> None:
        """Its file is gone, whoever removed it."""
