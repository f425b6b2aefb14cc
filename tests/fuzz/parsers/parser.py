"""A parser as the fuzzers see it: how to call it, what it may raise, and the invariants of its results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from multidict import CIMultiDict, CIMultiDictProxy

CORPUS: Final = Path(__file__).parents[1] / "corpus"
LARGEST: Final = 256 * 1024
"""Bytes of the largest input that is tried: a quadratic parser does not finish with that much."""


def _always(_: Any) -> None:
    """No invariant: the parser only must not raise."""


@dataclass(frozen=True, slots=True)
class Parser:
    """One reader of an outsider's input."""

    name: str
    """The name of its folder of seeds."""
    parse: Callable[[bytes], Any]
    refuses: tuple[type[Exception], ...] = ()
    """The exceptions that its documentation names."""
    holds: Callable[[Any], None] = _always
    """Asserts the invariants of every result."""
    words: tuple[bytes, ...] = ()
    """The tokens of its language."""
    largest: int = 8192
    """Bytes of the largest input that its caller lets through."""
    is_json: bool = False

    def run(self, data: bytes) -> bool:
        """True if `data` is accepted. Raises undocumented exceptions, and AssertionError if an invariant fails."""
        try:
            result = self.parse(data)
        except self.refuses:
            return False
        self.holds(result)
        return True

    def seeds(self) -> dict[str, bytes]:
        """The kept inputs, by file name."""
        return {path.name: path.read_bytes() for path in sorted((CORPUS / self.name).iterdir())}


def wire(data: bytes) -> str:
    """Bytes of a header field or a path as aiohttp hands them on."""
    return data.decode("utf-8", "surrogateescape")


def text(data: bytes) -> str:
    """Bytes of a file as text."""
    return data.decode("utf-8", "replace")


def parts(data: bytes, count: int) -> list[str]:
    """The first `count` - 1 lines and the rest, for parsers of several texts."""
    found = wire(data).split("\n", count - 1)
    return found + [""] * (count - len(found))


_RUNNER: Final = asyncio.Runner()


def drive(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine."""
    return _RUNNER.run(work)


class Answer:
    """An upstream's or a provider's answer that is all there."""

    def __init__(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.body, self.status = body, status
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self.headers: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict(fields))
        self.host = "quay.io"
        self.phrase = ""

    async def read(self, limit: int) -> bytes:
        """See UpstreamResponse."""
        return self.body[:limit]

    def refuse_page(self) -> None:
        """See UpstreamResponse: the type is that of a list."""

    def release(self) -> None:
        """See UpstreamResponse."""
