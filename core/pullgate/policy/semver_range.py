"""Semantic version ranges over tags, in npm's syntax: `>=1.4 <2`, `^1.2`, `1.x || 2.0.0`.

A tag cannot hold the `+` of build metadata. Helm writes it as `_` and reads every `_` back as `+` (helm#10166,
pkg/registry/client.go), so tag 1.4.0_up2 is version 1.4.0+up2. Build metadata decides nothing (semver.org, 10).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from semantic_version import NpmSpec
from semantic_version.base import AllOf, AnyOf, Range

RANGE_LIMIT = 255

_VERSION = re.compile(
    r"v?(0|[1-9]\d{0,8})(?:\.(0|[1-9]\d{0,8}))?(?:\.(0|[1-9]\d{0,8}))?"
    r"(-[0-9A-Za-z.-]{1,64})?(?:\+[0-9A-Za-z.-]{1,64})?\Z"
)


def validate_semver(text: str) -> str | None:
    """The mistake in the range `text`, or None."""
    if not text or len(text) > RANGE_LIMIT:
        return f"a version range has 1 to {RANGE_LIMIT} characters"
    if "+" in text:
        return "build metadata is not compared; leave out the + and all that follows it, like >=1.4.0"
    try:
        _compile(text)
    except ValueError:
        return "not a version range; write it like >=1.4 <2"
    return None


@dataclass(frozen=True, slots=True)
class SemverRange:
    """A range. A tag that is no version is in none; a prerelease is in a range that names one of its version.

    Build metadata is ignored: 1.4.0_up2 (Helm's 1.4.0+up2) and 1.4.0_alpine are in each range that 1.4.0 is in.
    """

    text: str
    _alternatives: tuple[tuple[_Bound, ...], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_alternatives", _compile(self.text))

    def match(self, tag: str) -> bool:
        """True if `tag`, with or without a leading v, is a version in the range; 1.4 means 1.4.0."""
        version = _read_version(tag)
        if version is None:
            return False
        return any(all(bound.holds(version) for bound in bounds) for bounds in self._alternatives)


_Key = tuple[int, int, int, int, tuple[tuple[int, int, str], ...]]
"""Sorts as semver.org, 11 says: major, minor, patch, 0 for a prerelease and 1 for a release, its identifiers."""

_COMPARE: Final[dict[str, Callable[[_Key, _Key], bool]]] = {
    Range.OP_EQ: operator.eq,
    Range.OP_GT: operator.gt,
    Range.OP_GTE: operator.ge,
    Range.OP_LT: operator.lt,
    Range.OP_LTE: operator.le,
}


@dataclass(frozen=True, slots=True)
class _Bound:
    """One comparison of a range. `semantic_version` takes 13 µs for a tag, and a list may have 170,000 of them."""

    compare: Callable[[_Key, _Key], bool]
    target: _Key
    same_patch: bool
    """True if a prerelease counts only with a target of the same version (npm)."""

    def holds(self, version: _Key) -> bool:
        """True if `version` is on the right side of the target."""
        if self.same_patch and not version[3] and version[:3] != self.target[:3]:
            return False
        return self.compare(version, self.target)


@lru_cache(maxsize=1024)
def _compile(text: str) -> tuple[tuple[_Bound, ...], ...]:
    """The range as alternatives of bounds that hold together. Raises ValueError."""
    return _alternatives(_parse(text).clause)


def _alternatives(clause: Any) -> tuple[tuple[_Bound, ...], ...]:
    if isinstance(clause, AnyOf):
        return tuple(bounds for each in clause.clauses for bounds in _alternatives(each))
    if isinstance(clause, AllOf):
        return (tuple(_bound(each) for each in clause.clauses),)
    return (((_bound(clause)),),) if isinstance(clause, Range) else ()


def _bound(each: Any) -> _Bound:
    target = each.target
    key = _key(target.major, target.minor, target.patch, target.prerelease)
    return _Bound(_COMPARE[each.operator], key, each.prerelease_policy == Range.PRERELEASE_SAMEPATCH)


def _key(major: int, minor: int, patch: int, prerelease: tuple[str, ...]) -> _Key:
    # Numbers are below words, and fewer identifiers below more.
    identifiers = tuple((0, int(one), "") if one.isdigit() else (1, 0, one) for one in prerelease)
    return major, minor, patch, int(not prerelease), identifiers


def _parse(text: str) -> NpmSpec:
    """Raises ValueError."""
    try:
        return NpmSpec(re.sub(r"(?<![0-9A-Za-z.-])v(?=\d)", "", text))
    except (AttributeError, LookupError, TypeError) as error:  # of "1 - 2 - 3"
        raise ValueError("not a range") from error


def _read_version(tag: str) -> _Key | None:
    parts = _VERSION.match(tag.replace("_", "+"))
    if parts is None:
        return None
    major, minor, patch, prerelease = parts.groups()
    identifiers = tuple(prerelease[1:].split(".")) if prerelease else ()
    if any(not one or (one[0] == "0" and one != "0" and one.isdigit()) for one in identifiers):
        return None  # semver.org, 9: no identifier is empty, no number begins with 0
    return _key(int(major), int(minor or 0), int(patch or 0), identifiers)
