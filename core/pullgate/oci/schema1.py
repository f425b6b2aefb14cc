"""Docker's schema 1: its digest is that of the signed payload, and not of the bytes that are sent.

A signed manifest is JSON with a member `signatures`. Each signature's protected header has `formatLength` and
`formatTail`, from which the signed bytes are put together again (distribution, docs/spec/manifest-v2-1.md).
"""

from __future__ import annotations

import base64
from typing import Any, Final

from pullgate.oci.json_text import read_json

SCHEMA1: Final = "application/vnd.docker.distribution.manifest.v1+json"
SCHEMA1_SIGNED: Final = "application/vnd.docker.distribution.manifest.v1+prettyjws"
SCHEMA1_TYPES: Final = frozenset({SCHEMA1, SCHEMA1_SIGNED})


def is_schema1(body: bytes) -> bool:
    """True if `body` is a manifest of schema 1."""
    try:
        document = read_json(body)
    except ValueError:
        return False
    return isinstance(document, dict) and document.get("schemaVersion") == 1


def signed_payload(body: bytes) -> bytes:
    """The bytes that a digest names; `body` itself if it is not signed. Raises ValueError.

    The payload must say the same as the rest of `body`, since a reader takes the latter.
    """
    document = _object(body)
    signatures = document.pop("signatures", None)
    if not signatures:
        return body
    first = signatures[0] if isinstance(signatures, list) else None
    protected = _object(_decode(first.get("protected") if isinstance(first, dict) else None))
    length = protected.get("formatLength")
    if isinstance(length, bool) or not isinstance(length, int) or not 0 < length <= len(body):
        raise ValueError("the signature names no length")
    payload = body[:length] + _decode(protected.get("formatTail"))
    if _object(payload) != document:
        raise ValueError("the signature is of another manifest")
    return payload


def _object(text: bytes) -> dict[str, Any]:
    document = read_json(text)
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")
    return document


def _decode(value: object) -> bytes:
    """Base64url without padding (RFC 7515, section 2)."""
    if not isinstance(value, str):
        raise ValueError("the signature is not complete")
    return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
