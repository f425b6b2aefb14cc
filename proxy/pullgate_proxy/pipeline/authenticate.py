"""Authorization header -> License, or a fault.

A dictionary look-up by the key's SHA-256; no cryptography beyond that hash and, for a token, one MAC. The
result for a header is cached by the header's own SHA-256: only the look-up, which a revocation changes, is repeated.
"""

from __future__ import annotations

import base64
import hashlib
from collections import OrderedDict
from datetime import UTC, datetime

from pullgate.faults import KeyMalformed, KeyRevoked, KeyRotated, KeyUnknown, LoginRequired
from pullgate.licensing.keys import check_key, key_digest
from pullgate.policy.entitlement import check_validity
from pullgate.policy.facts import LicenseFacts
from pullgate_proxy.state.snapshot import KeyEntry, Snapshot
from pullgate_proxy.state.tokens import SigningKeys

HEADER_LIMIT = 8192
REMEMBERED = 20_000
"""Headers, about 250 bytes each."""


def identify(
    authorization: str | None, snapshot: Snapshot, now: float, logins: Logins, app: str | None = None
) -> KeyEntry:
    """The entry of the client's key, even if that key may not pull: the log names the License of a refusal, too.

    `app`: see find_key.
    Raises LoginRequired, KeyMalformed, KeyUnknown, TokenExpired.
    """
    if not authorization:
        raise LoginRequired
    return find_key(logins.read(authorization, snapshot.signing_keys, now), snapshot, app)


class Logins:
    """Cached results of Authorization headers. No key and no token is kept; the least recently used goes first."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._known: OrderedDict[bytes, tuple[bytes, float, SigningKeys | None]] = OrderedDict()
        """SHA-256 of the header -> SHA-256 of the license key, until when (Unix time), and by which keys."""

    def read(self, authorization: str, signing_keys: SigningKeys, now: float) -> bytes:
        """The SHA-256 of the license key, from Basic (RFC 7617: the key is the password) or the proxy's Bearer token.

        Raises LoginRequired, KeyMalformed, TokenExpired.
        """
        if len(authorization) > HEADER_LIMIT:
            raise KeyMalformed(looks_like_key=False)
        name = hashlib.sha256(authorization.encode("utf-8", "surrogateescape")).digest()
        known = self._known.get(name)
        if known is not None and now < known[1] and (known[2] is None or known[2] is signing_keys):
            self._known.move_to_end(name)
            return known[0]
        found = _read(authorization, signing_keys, now)
        self._known[name] = found
        if len(self._known) > self._limit:
            self._known.popitem(last=False)
        return found[0]


def _read(authorization: str, signing_keys: SigningKeys, now: float) -> tuple[bytes, float, SigningKeys | None]:
    scheme, _, value = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            digest, ends_at = signing_keys.verify(value.strip(), now)
            return digest, ends_at, signing_keys
        case "basic":
            return read_key(read_basic(value.strip())[1]), float("inf"), None
        case _:
            raise LoginRequired


def read_basic(value: str) -> tuple[str, str]:
    """User name and password of RFC 7617 credentials; raises KeyMalformed."""
    try:
        user, _, password = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
    except ValueError as error:  # binascii.Error and UnicodeDecodeError are, and so is a character beyond ASCII
        raise KeyMalformed(looks_like_key=False) from error
    return user, password


def read_key(password: str) -> bytes:
    """The SHA-256 of a license key; raises LoginRequired for an empty one, KeyMalformed for one that cannot be."""
    if not password:
        raise LoginRequired
    check_key(password)
    return key_digest(password)


def find_key(digest: bytes, snapshot: Snapshot, app: str | None) -> KeyEntry:
    """The license key with this SHA-256, for a request to `app` (None: it names none). Raises KeyUnknown.

    A tenant may write the digest of another app's key into the status of a License of its own. Then the key counts for
    the app that the request names, and for none where it names none: one tenant must not answer for another.
    """
    entries = snapshot.keys(digest)
    if len(entries) > 1 and len({entry.license.namespace for entry in entries}) > 1:
        entries = tuple(entry for entry in entries if entry.license.namespace == app)
    if not entries:
        raise KeyUnknown
    return entries[0]


def require_valid(entry: KeyEntry, now: float) -> LicenseFacts:
    """The key's License, if it may pull at `now` (Unix time). Raises KeyRevoked, KeyRotated and the License faults."""
    if entry.revoked is not None:
        since = datetime.fromtimestamp(entry.ends_at, UTC) if entry.ends_at is not None else None
        raise KeyRevoked(entry.revoked, since)
    if entry.ends_at is not None and entry.ends_at <= now:
        raise KeyRotated(datetime.fromtimestamp(entry.ends_at, UTC))
    check_validity(entry.license, datetime.fromtimestamp(now, UTC))
    return entry.license
