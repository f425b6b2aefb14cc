"""Digests: `sha256:` and 64 lower-case hexadecimal digits (image-spec, "Digests"). Other registered forms: sha512."""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

from pullgate.faults import DigestInvalid

_FORM = re.compile(r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})\Z")

_SUBJECT_TAG = re.compile(r"(sha256)-([0-9a-f]{64})(\.[a-z]{1,16})?\Z")


class Hasher(Protocol):
    """The part of a hashlib object that is used."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take more bytes in."""

    def hexdigest(self) -> str:
        """The digest of the bytes so far, as hexadecimal digits."""


def is_digest(text: str) -> bool:
    """True if `text` has the exact form of a digest; nothing else may enter a path (CVE-2024-3727)."""
    return _FORM.match(text) is not None


def parse_digest(text: str) -> str:
    """`text`, if it is a digest. Raises DigestInvalid."""
    if not is_digest(text):
        raise DigestInvalid
    return text


def subject_of_tag(tag: str) -> str | None:
    """The digest that `tag` is about: a tag of the referrers tag schema, or cosign's .sig, .att and .sbom."""
    match = _SUBJECT_TAG.match(tag)
    return f"{match[1]}:{match[2]}" if match else None


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """The digest of `data`; `algorithm` is sha256 or sha512."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def hasher(digest: str) -> Hasher:
    """A fresh hash of the algorithm that `digest` names. Raises DigestInvalid."""
    return hashlib.new(parse_digest(digest).partition(":")[0])
