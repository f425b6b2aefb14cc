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
_ALLOWED = re.compile(r"[A-Za-z0-9._/*?-]+\Z")


def validate_glob(pattern: str) -> str | None:
    """What is wrong with `pattern`, or None."""
    if not pattern or len(pattern) > PATTERN_LIMIT:
        return f"a pattern has 1 to {PATTERN_LIMIT} characters"
    if not _ALLOWED.match(pattern):
        return "a pattern is made of letters, digits, . _ - / and the wildcards * ** ?"
    if any("**" in segment and segment != "**" for segment in pattern.split("/")):
        return "** stands alone between slashes"
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
        return self._regex.match(text + "/") is not None

    def specificity(self, text: str) -> tuple[int, bool] | None:
        """How closely `text` is matched: characters before the first wildcard, and whether there is none.

        It is that of the closest pattern; None if no pattern matches.
        """
        if not self.match(text):
            return None
        return max(_specificity(pattern) for pattern in self.patterns if _compile((pattern,)).match(text + "/"))

    @property
    def exact(self) -> tuple[str, ...] | None:
        """The patterns, if none has a wildcard: then they are the only texts that match."""
        return None if any("*" in pattern or "?" in pattern for pattern in self.patterns) else self.patterns


@lru_cache(maxsize=8192)
def _compile(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """A regular expression over a name with a slash behind it, so that every segment ends in one."""
    alternatives = "|".join(_translate(pattern) for pattern in patterns)
    return re.compile(rf"(?:{alternatives})\Z" if patterns else r"(?!)")


def _specificity(pattern: str) -> tuple[int, bool]:
    literal = re.split(r"[*?]", pattern, maxsplit=1)[0]
    return len(literal), literal == pattern


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
