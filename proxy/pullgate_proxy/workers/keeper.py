"""The worker's side of the blob cache: what the keeper does, asked of the supervisor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pullgate_proxy.cache.ask import Place
from pullgate_proxy.cache.disk import BlobDir
from pullgate_proxy.workers.line import Line, LineLost


class LineKeeper:
    """See Keeping. If the supervisor is gone, nothing new is kept; this process ends soon, too."""

    def __init__(self, line: Callable[[], Line], directory: BlobDir) -> None:
        self._line, self.directory = line, directory
        self.usable = False
        self.problem = ""
        self.size = self.files = 0
        """Always 0 here: the supervisor's own metrics report them."""

    def take_state(self, usable: bool, problem: str) -> None:
        """Take the disk's state from the supervisor."""
        self.usable, self.problem = usable, problem

    async def start(self) -> None:
        """The supervisor did it."""

    async def stop(self) -> None:
        """The supervisor does it."""

    async def is_proven(self, place: Place) -> bool:
        """See Keeping."""
        return bool(await self._call("is proven", place))

    async def lead(self, place: Place) -> bool:
        """See Keeping."""
        return bool(await self._call("lead", place))

    async def join(self, place: Place) -> int | None:
        """See Keeping."""
        size = await self._call("join", place)
        return size if isinstance(size, int) else None

    async def claim(self, place: Place, size: int) -> Path | None:
        """See Keeping."""
        return self.directory.incoming(place) if await self._call("claim", place, size) else None

    async def commit(self, place: Place) -> bool:
        """See Keeping."""
        return bool(await self._call("commit", place))

    async def abandon(self, place: Place) -> None:
        """See Keeping."""
        await self._call("abandon", place)

    def failed(self, error: OSError) -> None:
        """See Keeping."""
        self.usable = False
        self._line().note("failed", error.errno, error.strerror or str(error))

    def pin(self, digest: str) -> None:
        """See Keeping."""
        self._line().note("pin", digest)

    def unpin(self, digest: str) -> None:
        """See Keeping."""
        self._line().note("unpin", digest)

    async def drop(self, digest: str) -> None:
        """See Keeping."""
        await self._call("drop", digest)

    def missing(self, digest: str) -> None:
        """See Keeping."""
        self._line().note("missing", digest)

    async def _call(self, name: str, *arguments: object) -> object:
        try:
            return await self._line().call(name, *arguments)
        except LineLost:
            return None
