"""Secrets of tests, recognizable by their form, and the search for them in places that may hold none.

Every credential of a test contains `CANARY`: code that makes a Secret for a test takes no other (`canary`). License
keys, tokens, private keys and Authorization values are known by their own form. A finding names place and kind, and
never repeats the secret.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MARK: Final = "CANARY"
CHUNK: Final = 4 * 1024 * 1024
OVERLAP: Final = 4096
"""Bytes of a file that are looked at with the next part, too."""


class NoCanary(ValueError):
    """A test's credential has no form that the search recognizes."""


def canary(secret: str) -> str:
    """`secret`, if it will be found wherever it turns up; an empty one is none. Raises NoCanary."""
    if secret and find_secret(secret) is None:
        raise NoCanary(f"{secret!r}: write a credential of a test with {MARK} in it, like {MARK}-wrong")
    return secret


def in_base64(text: str) -> tuple[str, ...]:
    """As it stands inside of something longer, by its place among the groups of three bytes (RFC 4648, section 4)."""
    found = []
    for before, start in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(bytes(before) + text.encode()).decode().rstrip("=")
        found.append(encoded[start:-1])  # the first and the last character hold bits of the neighbours
    return tuple(found)


def _forms(text: str) -> tuple[str, ...]:
    """`text` in base64 and in hexadecimal digits."""
    return (*in_base64(text), text.encode().hex(), text.encode().hex().upper())


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of secret: one of `signs` stands in each, and is looked for first, as `in` is the fastest search."""

    signs: tuple[str, ...]
    pattern: re.Pattern[str]

    def finds(self, text: str) -> Iterator[re.Match[str]]:
        """The places in `text` that may hold one."""
        return self.pattern.finditer(text) if any(sign in text for sign in self.signs) else iter(())


def _any_of(*texts: str) -> _Kind:
    return _Kind(texts, re.compile("|".join(map(re.escape, texts))))


_KINDS: Final = {
    # The id of an access key is shown on purpose: AWS calls it no secret.
    "a credential": _Kind((MARK,), re.compile(rf"(?<!AKIA){MARK}")),
    "a credential, encoded": _any_of(*_forms(MARK)),
    "a license key": _Kind(("pgk_",), re.compile(r"pgk_[0-9A-Za-z]{20,}")),
    "a token": _Kind(("eyJ",), re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")),
    "a private key": _any_of("PRIVATE KEY-----"),
    "a private key, encoded": _any_of(*_forms("PRIVATE KEY---")),
    "an Authorization value": _Kind(
        ("Basic ", "Bearer "), re.compile(r"\b(?:Basic [A-Za-z0-9+/]{16,}={0,2}|Bearer [A-Za-z0-9._~+/-]{24,})")
    ),
}
_ENCODED_KEY: Final = _Kind(
    in_base64("pgk_"), re.compile(rf"[A-Za-z0-9+/_-]{{0,3}}(?:{'|'.join(in_base64('pgk_'))})[A-Za-z0-9+/_-]{{20,}}")
)
_PRODUCT_NAMES: Final = re.compile(r"stderr|stdout|core(\.\d+)?")
_CACHED: Final = re.compile(r"/(incoming/sha(256|512)-|blobs/sha(256|512)/[0-9a-f]{2}/)[0-9a-f]+$")
"""Files of a cache of blobs; a registry's own folders have one level more."""
_KEY: Final = re.compile(rb"pgk_[0-9A-Za-z]{12,}")


def find_secret(text: str, also: Iterable[str] = ()) -> str | None:
    """The kind of secret that stands in `text`, None if there is none; `also` are further texts to look for."""
    for name, kind in _KINDS.items():
        if next(kind.finds(text), None) is not None:
            return name
    if any(_holds_key(found[0]) for found in _ENCODED_KEY.finds(text)):
        return "a license key, encoded"
    return "a key of this test" if any(secret in text for secret in also) else None


def _holds_key(encoded: str) -> bool:
    """True if base64 text, which may begin at any offset, holds a license key."""
    plain = encoded.translate(str.maketrans("-_", "+/"))
    for start in range(4):
        part = plain[start:]
        try:
            decoded = base64.b64decode(part[: len(part) // 4 * 4])
        except binascii.Error:
            continue
        if _KEY.search(decoded) is not None:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Finding:
    """A secret where none may be."""

    place: str
    kind: str

    def __str__(self) -> str:
        return f"{self.place}: {self.kind}"


FOUND: Final[list[Finding]] = []
"""Findings not yet reported; the plugin fails the test, or the run, that they belong to."""


def look(place: str, text: str | bytes, also: Iterable[str] = ()) -> None:
    """Look for secrets in what the product gave out at `place`."""
    kind = find_secret(text.decode("latin-1") if isinstance(text, bytes) else text, also)
    if kind is not None:
        FOUND.append(Finding(place, kind))


def require_none(where: str) -> None:
    """Raises AssertionError if anything was found since the last call."""
    found, FOUND[:] = list(FOUND), []
    assert not found, f"secrets after {where}: " + "; ".join(map(str, dict.fromkeys(found)))


def search_tree(path: Path, also: Iterable[str] = ()) -> list[Finding]:
    """The files at or below `path` that hold a secret, in their content or name. A cache's folder is one to look at."""
    return [found for file in _files(path) for found in _search_file(file, tuple(also))]


def product_files(path: Path) -> Iterator[Path]:
    """The product's files below `path`: folders `.pullgate` without their Secrets, caches, logs, core files."""
    for file in _files(path):
        inside = str(file).rpartition("/.pullgate/")[2]
        own = inside != str(file) and not inside.startswith("secrets/")
        cached = _CACHED.search(str(file)) is not None
        if own or cached or file.suffix == ".log" or _PRODUCT_NAMES.fullmatch(file.name):
            yield file


def search_product_files(path: Path, also: Iterable[str] = ()) -> list[Finding]:
    """The files that the product wrote below `path` and that hold a secret."""
    return [found for file in product_files(path) for found in _search_file(file, tuple(also))]


def _files(path: Path) -> list[Path]:
    return sorted(p for p in (path.rglob("*") if path.is_dir() else [path]) if p.is_file() and not p.is_symlink())


def _search_file(path: Path, also: tuple[str, ...]) -> list[Finding]:
    kinds = {find_secret(path.name, also)}
    before = b""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:  # what is still at work replaces its files
        while part := file.read(CHUNK):
            kinds.add(find_secret((before + part).decode("latin-1"), also))
            before = part[-OVERLAP:]
    return [Finding(f"file {path}", kind) for kind in sorted(filter(None, kinds))]
