"""Authorization header -> License, or a fault.

A dictionary look-up by the key's SHA-256; no cryptography beyond that hash and, for a token, one MAC.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime

from pullgate.faults import KeyMalformed, KeyRotated, KeyUnknown, LoginRequired
from pullgate.licensing.keys import check_key, key_digest
from pullgate.policy.entitlement import check_validity
from pullgate.policy.facts import LicenseFacts
from pullgate_proxy.state.snapshot import KeyEntry, Snapshot

HEADER_LIMIT = 8192


def identify(authorization: str | None, snapshot: Snapshot, now: float) -> KeyEntry:
    """Whose key the client showed, whether or not it may pull: the log wants to know that of a refusal, too.

    Raises LoginRequired, KeyMalformed, KeyUnknown, TokenExpired.
    """
    return find_key(read_credentials(authorization, snapshot, now), snapshot)


def read_credentials(authorization: str | None, snapshot: Snapshot, now: float) -> bytes:
    """The SHA-256 of the license key, from Basic (RFC 7617: the key is the password) or the proxy's Bearer token."""
    if not authorization:
        raise LoginRequired
    scheme, _, value = authorization.partition(" ")
    if len(value) > HEADER_LIMIT:
        raise KeyMalformed(looks_like_key=False)
    match scheme.lower():
        case "bearer":
            return snapshot.signing_keys.verify(value.strip(), now)
        case "basic":
            return read_key(read_basic(value.strip())[1])
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


def find_key(digest: bytes, snapshot: Snapshot) -> KeyEntry:
    """The license key with this SHA-256. Raises KeyUnknown."""
    entry = snapshot.key(digest)
    if entry is None:
        raise KeyUnknown
    return entry


def require_valid(entry: KeyEntry, now: float) -> LicenseFacts:
    """The key's License, if it may pull at `now` (Unix time). Raises KeyRotated and the License faults."""
    if entry.ends_at is not None and entry.ends_at <= now:
        raise KeyRotated(datetime.fromtimestamp(entry.ends_at, UTC))
    check_validity(entry.license, datetime.fromtimestamp(now, UTC))
    return entry.license
