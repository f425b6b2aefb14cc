"""Claims of the signed texts of Pullgate. Pure."""

from __future__ import annotations

from typing import Final

from jwt.types import Options

SIGNATURE_ALONE: Final[Options] = {
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_iss": False,
}
"""For `jwt.decode`: the reader compares the times itself, against its own clock, and knows what it looks for."""
