"""Globs of repositories and tags.

`*` is any text within one path segment, `?` one character of it, `**` as a whole segment any number of segments (none,
too, so that `charts/**` covers `charts` itself). A tag has no segments, so there `*` is any text. Each pattern becomes
one regular expression; `STAR_LIMIT` and the length of a name bound its backtracking.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

PATTERN_LIMIT = 255
STAR_LIMIT = 8
"""Wildcards in one pattern: bounds backtracking to a small polynomial of the name's length."""

_ALLOWED = re.compile(r"[A-Za-z0-9._/*?-]+\Z")


def validate_glob(pattern: str) -> str | None:
    """What is wrong with `pattern`, or None."""
    if not pattern or len(pattern) > PATTERN_LIMIT:
        return f"a pattern has 1 to {PATTERN_LIMIT} characters"
    if not _ALLOWED.match(pattern):
        return "a pattern is made of letters, digits, . _ - / and the wildcards * ** ?"
    if any("**" in segment and segment != "**" for segment in pattern.split("/")):
        return "** stands alone between slashes"
    if pattern.count("*") - pattern.count("**") > STAR_LIMIT:
        return f"a pattern has at most {STAR_LIMIT} wildcards"
    return None


@dataclass(frozen=True, slots=True)
class Globs:
    """Some patterns; a text matches if it matches one of them. Equal ones share their compiled form."""

    patterns: tuple[str, ...]
    _regex: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_regex", _compile(self.patterns))

    def match(self, text: str) -> bool:
        """Whether the whole of `text` matches a pattern."""
        return self._regex.match(text) is not None

    @property
    def exact(self) -> tuple[str, ...] | None:
        """The patterns, if none has a wildcard: then they are the only texts that match."""
        return None if any("*" in pattern or "?" in pattern for pattern in self.patterns) else self.patterns


@lru_cache(maxsize=8192)
def _compile(patterns: tuple[str, ...]) -> re.Pattern[str]:
    alternatives = "|".join(_translate(pattern) for pattern in patterns)
    return re.compile(rf"(?:{alternatives})\Z" if patterns else r"(?!)")


def _translate(pattern: str) -> str:
    segments = pattern.split("/")
    parts: list[str] = []
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if segment != "**":
            parts.append(_translate_segment(segment) + ("" if last else "/"))
        elif len(segments) == 1:
            parts.append(".+")
        elif last:  # a/** : a, a/b, a/b/c
            parts[-1] = parts[-1].removesuffix("/") + "(?:/.+)?" if number else ".+"
        else:
            parts.append("(?:[^/]+/)*")
    return "".join(parts)


def _translate_segment(segment: str) -> str:
    collapsed = re.sub(r"\*+", "*", segment)
    return "".join("[^/]*" if c == "*" else "[^/]" if c == "?" else re.escape(c) for c in collapsed)
