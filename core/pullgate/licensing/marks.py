"""Test marks: a test pulls as a customer does, and says in a header of its own that it is a test.

A mark is a JWT (HS256), five minutes, for one License. It stands beside the customer's login and proves nothing but
that: it lets nobody in. Its key is derived for one namespace from a key of the proxy's tokens, so that neither a mark
nor its key can be used as anything else, and the proxies keep no state for it.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from jwt.exceptions import PyJWTError

from pullgate.licensing.claims import SIGNATURE_ALONE
from pullgate.oci.json_text import read_json

TEST_HEADER = "X-Pullgate-Test"
"""A request holds the mark in it. The answer holds COUNTED_APART if the proxy took the mark."""
LIMIT_HEADER = "X-Pullgate-Limit"
"""The answer to a test says in it why the customer's own pull would be refused now."""
COUNTED_APART = "counted-apart"

LIFETIME = 300
"""Seconds."""
SKEW = 60
"""Seconds by which the clock of a mark's issuer may be ahead."""
LONGEST = 1024
"""Characters of a mark; two names of 63 and a signature need half of that."""

TEST_KEY_NAME = "pullgate-test-key"
"""The Secret of the app's namespace that holds the key."""
TEST_KEY_FILE = "key.json"

_ISSUER = "pullgate-test"
_PURPOSE = b"pullgate test mark\0"


@dataclass(frozen=True, slots=True)
class MarkKey:
    """Signs and verifies the marks of one namespace."""

    id: str
    """The id of the key that it is derived from."""
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Marker:
    """Makes the marks of a run: each request gets a fresh one, so that a long run does not outlive it."""

    key: MarkKey
    namespace: str
    license: str

    def make(self, now: float) -> str:
        """A mark at `now` (Unix time)."""
        claims = {"iss": _ISSUER, "exp": int(now) + LIFETIME, "sub": _subject(self.namespace, self.license)}
        return jwt.encode(claims, self.key.secret, algorithm="HS256", headers={"kid": self.key.id})


def derive_mark_key(id_: str, signing_key: bytes, namespace: str) -> MarkKey:
    """The key for marks of `namespace`, from the key of the proxy's tokens with the id `id_`."""
    return MarkKey(id_, hmac.digest(signing_key, _PURPOSE + namespace.encode(), "sha256"))


def mark_key_id(mark: str) -> str:
    """The id of the key that `mark` names, unverified; empty if it names none."""
    if len(mark) > LONGEST:
        return ""
    try:
        kid = jwt.get_unverified_header(mark).get("kid")
    except (PyJWTError, ValueError, RecursionError):
        return ""
    return kid if isinstance(kid, str) else ""


def is_mark_of(mark: str, key: MarkKey, namespace: str, license_: str, now: float) -> bool:
    """True if `mark` was made with `key` for this License and has not ended at `now` (Unix time).

    A mark that would live longer than LIFETIME and SKEW is refused: the key's holder does not choose its life.
    """
    try:
        claims = jwt.decode(mark, key.secret, algorithms=["HS256"], options=SIGNATURE_ALONE)
        fits = claims["iss"] == _ISSUER and claims["sub"] == _subject(namespace, license_)
        return bool(fits and now < claims["exp"] <= now + LIFETIME + SKEW)
    except (PyJWTError, KeyError, TypeError, ValueError, RecursionError):
        return False


def encode_mark_key(key: MarkKey) -> dict[str, bytes]:
    """The data of the Secret that hands `key` to an app's namespace."""
    row = {"id": key.id, "key": base64.urlsafe_b64encode(key.secret).decode()}
    return {TEST_KEY_FILE: json.dumps(row, separators=(",", ":")).encode()}


def decode_mark_key(data: Mapping[str, bytes]) -> MarkKey:
    """Read what `encode_mark_key` wrote. Raises ValueError, which tells no part of the content."""
    try:
        row: Any = read_json(data[TEST_KEY_FILE])
        key = MarkKey(str(row["id"]), base64.urlsafe_b64decode(row["key"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(f"{TEST_KEY_FILE} holds no key for test marks") from None
    if len(key.secret) != 32:
        raise ValueError(f"{TEST_KEY_FILE} holds no key for test marks")
    return key


def _subject(namespace: str, license_: str) -> str:
    return f"{namespace}/{license_}"
