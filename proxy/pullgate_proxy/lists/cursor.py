"""Cursors of lists that a client may see in part: sealed, of one length, and readable by any replica.

An upstream's cursor names a tag, often one outside the rule. The client gets it under a key of the proxies.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pullgate.faults import CredentialsMissing, PathInvalid
from pullgate_proxy.state.tokens import SigningKeys

BLOCK: Final = 1024
"""Bytes that a cursor is filled up to, so that its length does not tell a name's."""
LONGEST: Final = 2 * BLOCK
"""Bytes of a position; more would not fit a query in base64."""
_NONCE: Final = 12


@dataclass(frozen=True, slots=True)
class Position:
    """How far a client has come in a list."""

    query: str
    """The query of the upstream's page."""
    shown: str = ""
    """The last tag of that page that the client has; "" for none."""
    last: str = ""
    """The client's own `last`, which holds for all pages."""


class Cursors:
    """Seals positions by the keys that sign tokens, of which every replica has the same."""

    def __init__(self, keys: Callable[[], SigningKeys]) -> None:
        self._keys = keys

    def seal(self, position: Position, about: str) -> str:
        """The cursor of `position` in the list `about`. Raises CredentialsMissing without a key, ValueError if long."""
        keys = self._keys().keys
        if not keys:
            raise CredentialsMissing("of the proxy itself")
        plain = json.dumps([position.query, position.shown, position.last]).encode()
        if len(plain) > LONGEST:
            raise ValueError(f"its next page has a cursor beyond {LONGEST} bytes")
        nonce = os.urandom(_NONCE)
        sealed = _cipher(keys[0].secret).encrypt(nonce, plain.ljust(-len(plain) // BLOCK * -BLOCK), about.encode())
        return base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")

    def open(self, cursor: str, about: str, now: float) -> Position:
        """The position in a cursor of `seal`. Raises PathInvalid if it is invalid, expired or of another list."""
        try:
            data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except ValueError:
            data = b""
        for key in self._keys().keys:
            if now < key.not_after and len(data) > _NONCE:
                try:
                    plain = _cipher(key.secret).decrypt(data[:_NONCE], data[_NONCE:], about.encode())
                except InvalidTag:
                    continue
                return Position(*json.loads(plain))
        raise PathInvalid("the cursor is not of this list, or too old; list again from the beginning")


def _cipher(secret: bytes) -> AESGCM:
    return AESGCM(hashlib.blake2b(secret, digest_size=32, person=b"pullgate cursor").digest())
