"""Grants shared by all workers: the supervisor keeps the grants of all, and asks the other replicas."""

from __future__ import annotations

from collections.abc import Callable

from pullgate_proxy.workers.line import Line, LineLost


class LineElsewhere:
    """See Elsewhere."""

    def __init__(self, line: Callable[[], Line]) -> None:
        self._line = line

    def note(self, entries: list[bytes]) -> None:
        """See Elsewhere. The line is written before the client has its answer."""
        self._line().note("granted", [entry.hex() for entry in entries])

    async def find(self, entry: bytes) -> float:
        """See Elsewhere."""
        try:
            return float(await self._line().call("find grant", entry.hex()) or 0)
        except LineLost:
            return 0.0
