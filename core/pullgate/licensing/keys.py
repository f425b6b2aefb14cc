"""License keys: `pgk_`, 43 base62 characters (256 random bits), 6 base62 check characters (CRC-32 of all before them).

The prefix lets a secret scanner find a leaked key; the check tells a typing mistake from a wrong key without a look-up.
Only the SHA-256 of a key leaves its Secret. A key is random, so a plain hash is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib

from pullgate.faults import KeyMalformed

PREFIX = "pgk_"
BODY_LENGTH = 43
CHECK_LENGTH = 6

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FORM = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{BODY_LENGTH + CHECK_LENGTH}}}\Z")


def new_key() -> str:
    """A fresh key, 53 characters."""
    body = PREFIX + _base62(secrets.randbits(256), BODY_LENGTH)
    return body + _check(body)


def check_key(text: str) -> None:
    """Raises KeyMalformed unless `text` has a key's form and its check characters fit."""
    if not text.startswith(PREFIX):
        raise KeyMalformed(looks_like_key=False)
    if not _FORM.match(text) or _check(text[:-CHECK_LENGTH]) != text[-CHECK_LENGTH:]:
        raise KeyMalformed


def key_digest(text: str) -> bytes:
    """The key's SHA-256, 32 bytes: how it is looked up and kept."""
    return hashlib.sha256(text.encode()).digest()


def digest_text(digest: bytes) -> str:
    """`sha256:` and hexadecimal digits, as a License's status shows it."""
    return f"sha256:{digest.hex()}"


def key_id(digest: bytes) -> str:
    """A short name of a key for people: `k` and 5 hexadecimal digits."""
    return f"k{digest.hex()[:5]}"


def _check(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECK_LENGTH)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
