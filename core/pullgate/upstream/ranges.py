"""Range and Content-Range (RFC 9110, section 14), and whether one is the answer to the other."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\Z", re.ASCII | re.IGNORECASE)
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z", re.ASCII | re.IGNORECASE)

RANGES_LIMIT = 128
"""Ranges of one request. The stargz snapshotter asks for some dozens at once."""
RANGES_LENGTH = 4096
"""Characters of a Range header with several ranges."""


@dataclass(frozen=True, slots=True)
class Range:
    """One range that is asked for; `first` None: the last `last` bytes, `last` None: to the end."""

    first: int | None
    last: int | None

    def within(self, size: int) -> tuple[int, int] | None:
        """(first byte, end) of the range in `size` bytes; None if there is no such byte (416)."""
        if self.first is None:
            return (max(0, size - (self.last or 0)), size) if self.last and size else None
        if self.first >= size:
            return None
        return self.first, size if self.last is None else min(self.last + 1, size)


def parse_range(text: str) -> Range | None:
    """The single range of a Range header; None for several, another unit or nonsense, which is to be ignored."""
    match = _RANGE.match(text)
    if match is None or not (match[1] or match[2]):
        return None
    first, last = int(match[1]) if match[1] else None, int(match[2]) if match[2] else None
    return None if first is not None and last is not None and last < first else Range(first, last)


class TooManyRanges(ValueError):
    """More ranges than are served at once: 416 (RFC 9110, section 15.5.17)."""


def parse_ranges(text: str) -> tuple[Range, ...]:
    """The ranges of a Range header; none for another unit or nonsense, which is to be ignored. Raises TooManyRanges."""
    unit, _, rest = text.partition("=")
    if unit.strip().lower() != "bytes":
        return ()
    if len(text) > RANGES_LENGTH or rest.count(",") >= RANGES_LIMIT:
        raise TooManyRanges
    found = [parse_range(f"bytes={part.strip()}") for part in rest.split(",")]
    return tuple(each for each in found if each is not None) if None not in found else ()


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Bytes `first` to `last`, both included, of `total`; None is an unknown total."""

    first: int
    last: int
    total: int | None


def parse_content_range(text: str) -> ContentRange | None:
    """The one range that `text` names, None if it names none or makes no sense."""
    match = _CONTENT_RANGE.match(text.strip())
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if last < first or (total is not None and last >= total):
        return None
    return ContentRange(first, last, total)


def answers_range(asked: str, got: ContentRange) -> bool:
    """True if `got` begins where the Range value `asked` does, and holds no byte beyond it."""
    if "," in asked:  # a server may send one range that covers several (RFC 9110, section 15.3.7.2)
        return True
    match = _RANGE.match(asked)
    if match is None:
        return False
    if not match[1]:  # "bytes=-N": the last N bytes
        return got.total is None or (got.last == got.total - 1 and got.first == max(0, got.total - int(match[2] or 0)))
    return got.first == int(match[1]) and (not match[2] or got.last <= int(match[2]))
