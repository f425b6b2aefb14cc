"""The base of every handler: kopf's registry of handlers, and the interface to the operator."""

from __future__ import annotations

from typing import Any, Final, Protocol, cast

import kopf

HANDLERS: Final = kopf.OperatorRegistry()
"""The handlers of this package. They write nothing: no annotation, no finalizer, no state of kopf in any object."""


class Hub(Protocol):
    """The side of the operator that kopf sees."""

    async def begin(self) -> None:
        """kopf starts: list everything, and begin to work."""

    async def end(self) -> None:
        """kopf stops: end the work."""

    def log_in(self) -> kopf.AiohttpSession:
        """A session with the API server's address and the operator's credentials."""

    def take(self, kind: str, event: kopf.RawEvent) -> None:
        """An event of a watch."""

    def note_kind(self, kind: str, *, present: bool) -> None:
        """Note if the API server knows one of our kinds."""


def make_memo(hub: Hub) -> kopf.Memo:
    """The memo that kopf passes to each handler."""
    return kopf.Memo(hub=hub)


def hub_of(memo: Any) -> Hub:
    """The hub of a handler's memo."""
    return cast(Hub, memo.hub)
