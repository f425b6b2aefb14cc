"""Globs of repositories and tags.

`*` is any text within one path segment, `?` one character of it, `**` as a whole segment any number of segments (none,
too, so that `charts/**` covers `charts` itself). A tag has no segments, so there `*` is any text.

Each pattern becomes one regular expression that cannot run away: what stands between two wildcards is matched at its
leftmost place and never moved again (an atomic group), which is enough for globs, since earlier leaves more room.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

PATTERN_LIMIT = 255
_WILDCARD = re.compile(r"[*?]")
_ALLOWED = re.compile(r"[A-Za-z0-9._/*?-]+\Z")


def validate_glob(pattern: str) -> str | None:
    """The mistake in `pattern`, or None."""
    if not pattern or len(pattern) > PATTERN_LIMIT:
        return f"a pattern has 1 to {PATTERN_LIMIT} characters"
    if not _ALLOWED.match(pattern):
        return "a pattern is made of letters, digits, . _ - / and the wildcards * ** ?"
    if any("**" in segment and segment != "**" for segment in pattern.split("/")):
        return "** stands alone between slashes"
    return None


def has_wildcard(pattern: str) -> bool:
    """True if `pattern` has to be compiled; one without a wildcard is looked up."""
    return _WILDCARD.search(pattern) is not None


@dataclass(frozen=True, slots=True)
class Globs:
    """Some patterns; a text matches if it matches one of them. Equal ones share their compiled form."""

    patterns: tuple[str, ...]
    _compiled: _Compiled = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", _compile(self.patterns))

    def match(self, text: str) -> bool:
        """True if the whole of `text` matches a pattern."""
        return text in self._compiled.names or self._compiled.regex.match(text + "/") is not None

    def specificity(self, text: str) -> tuple[int, bool] | None:
        """The closest matching pattern's characters before its first wildcard, and True if it has no wildcard.

        None if no pattern matches.
        """
        compiled = self._compiled
        found = [(len(text), True)] if text in compiled.names else []
        match = compiled.regex.match(text + "/")
        if match is not None and match.lastindex is not None:
            found.append((compiled.literals[match.lastindex - 1], False))  # `a/**` is closer to a than `a` is
        return max(found, default=None)

    @property
    def exact(self) -> tuple[str, ...] | None:
        """The patterns, if none has a wildcard: then they are the only texts that match."""
        return None if self._compiled.literals else self.patterns


@dataclass(frozen=True, slots=True)
class _Compiled:
    """Patterns without a wildcard are looked up; for all others one expression is tried, the closest pattern first."""

    names: frozenset[str]
    regex: re.Pattern[str]
    """Over a text with a slash behind it, so that every segment ends in one. Each pattern is a group."""
    literals: tuple[int, ...]
    """Characters before the first wildcard, for each group."""


@lru_cache(maxsize=8192)
def _compile(patterns: tuple[str, ...]) -> _Compiled:
    literal = {pattern: len(_WILDCARD.split(pattern, maxsplit=1)[0]) for pattern in patterns}
    names = frozenset(pattern for pattern in patterns if literal[pattern] == len(pattern))
    wild = sorted((pattern for pattern in literal if pattern not in names), key=literal.__getitem__, reverse=True)
    alternatives = "|".join(f"({_translate(pattern)})" for pattern in wild)
    regex = re.compile(rf"(?:{alternatives})\Z" if wild else r"(?!)")
    return _Compiled(names, regex, tuple(literal[pattern] for pattern in wild))


_SEGMENTS = "(?:[^/]+/)*"


def _translate(pattern: str) -> str:
    groups: list[str] = [""]
    for segment in pattern.split("/"):
        if segment == "**":
            groups.append("")
        else:
            groups[-1] += _translate_segment(segment) + "/"
    first, *rest = groups
    if not rest:
        return first
    middle = "".join(f"(?>{_SEGMENTS}?{group})" for group in rest[:-1] if group)
    return f"{first}{middle}{_SEGMENTS}{rest[-1]}"


def _translate_segment(segment: str) -> str:
    first, *rest = (_translate_literal(part) for part in segment.split("*"))
    if not rest:
        return first
    middle = "".join(f"(?>[^/]*?{part})" for part in rest[:-1] if part)
    return f"{first}{middle}[^/]*{rest[-1]}"


def _translate_literal(text: str) -> str:
    return "".join("[^/]" if c == "?" else re.escape(c) for c in text)
