"""When a static credential ends, where it says so itself. Pure."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

from pullgate.oci.json_text import read_json


def end_of_token(text: str) -> datetime | None:
    """`exp` of a JSON Web Token (RFC 7519, section 4.1.4), unverified; None if `text` is none or has no end."""
    parts = text.split(".")
    if len(parts) != 3 or not text.startswith("eyJ"):
        return None
    try:
        claims = read_json(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        end = claims.get("exp")
        return datetime.fromtimestamp(end, UTC) if isinstance(end, int) and not isinstance(end, bool) else None
    except (binascii.Error, ValueError, AttributeError, OverflowError, OSError):
        return None
