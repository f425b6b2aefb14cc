"""Semantic version ranges over tags, in npm's syntax: `>=1.4 <2`, `^1.2`, `1.x || 2.0.0`.

A tag cannot hold the `+` of build metadata. Helm writes it as `_` and reads every `_` back as `+` (helm#10166,
pkg/registry/client.go), so tag 1.4.0_up2 is version 1.4.0+up2. Build metadata decides nothing (semver.org, 10).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from semantic_version import NpmSpec, Version

RANGE_LIMIT = 255

_VERSION = re.compile(
    r"v?(0|[1-9]\d{0,8})(?:\.(0|[1-9]\d{0,8}))?(?:\.(0|[1-9]\d{0,8}))?"
    r"(-[0-9A-Za-z.-]{1,64})?(?:\+[0-9A-Za-z.-]{1,64})?\Z"
)


def validate_semver(text: str) -> str | None:
    """What is wrong with the range `text`, or None."""
    if not text or len(text) > RANGE_LIMIT:
        return f"a version range has 1 to {RANGE_LIMIT} characters"
    if "+" in text:
        return "build metadata is not compared; leave out the + and all that follows it, like >=1.4.0"
    try:
        _parse(text)
    except ValueError:
        return "not a version range; write it like >=1.4 <2"
    return None


@dataclass(frozen=True, slots=True)
class SemverRange:
    """A range. A tag that is no version is in none; a prerelease is in a range that names one of its version.

    Build metadata is ignored: 1.4.0_up2 (Helm's 1.4.0+up2) and 1.4.0_alpine are in each range that 1.4.0 is in.
    """

    text: str
    _spec: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_spec", _parse(self.text))

    def match(self, tag: str) -> bool:
        """Whether `tag`, with or without a leading v, is a version in the range; 1.4 means 1.4.0."""
        return _match(self._spec, tag)


@lru_cache(maxsize=1024)
def _parse(text: str) -> Any:
    """Raises ValueError."""
    try:
        return NpmSpec(re.sub(r"(?<![0-9A-Za-z.-])v(?=\d)", "", text))
    except (AttributeError, LookupError, TypeError) as error:  # of "1 - 2 - 3"
        raise ValueError("not a range") from error


@lru_cache(maxsize=16384)
def _match(spec: Any, tag: str) -> bool:
    parts = _VERSION.match(tag.replace("_", "+"))
    if parts is None:
        return False
    major, minor, patch, prerelease = parts.groups()
    try:
        return bool(spec.match(Version(f"{major}.{minor or 0}.{patch or 0}{prerelease or ''}")))
    except ValueError:
        return False
