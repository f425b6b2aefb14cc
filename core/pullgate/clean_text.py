"""Text that others wrote, before it is printed: it must neither steer a terminal nor change the reading order."""

from __future__ import annotations

import re

_FORBIDDEN = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff"
"""Controls (C0, C1), line and paragraph separators, what sets the direction of text (UAX #9), lone surrogates.

The joiners U+200C and U+200D are none of these: Persian, Hindi and emoji are written with them.
"""
FORBIDDEN = re.compile(f"[{_FORBIDDEN}]")
"""One character that no field may hold; deploy/crds has the same set."""
_BESIDES_LINES = re.compile(rf"(?![\n\t])[{_FORBIDDEN}]")


def clean(text: str, *, lines: bool = False) -> str:
    r"""`text` with each forbidden character as its escape (\x1b, \u202e); letters of every language stay.

    `lines`: line breaks and tabs stay, too.
    """
    return (_BESIDES_LINES if lines else FORBIDDEN).sub(_escape, text)


def clean_json(text: str) -> str:
    """A JSON document that says the same, with forbidden characters of its strings escaped (RFC 8259, section 7)."""
    return _BESIDES_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")
