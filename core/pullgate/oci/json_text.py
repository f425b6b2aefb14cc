"""JSON that others wrote, as values that can be walked, shown and written anew. Pure.

`json` reads as deep as the stack goes, and half characters; whoever shows or encodes such a value fails later. So what
is deeper than anything of ours, or cannot be encoded, is refused where it is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

DEPTH_LIMIT = 64
"""Objects and lists in each other."""


class TooDeep(ValueError):
    """Objects and lists are nested deeper than DEPTH_LIMIT."""

    def __init__(self) -> None:
        super().__init__("nested too deep")


def read_json(text: str | bytes) -> Any:
    """The value of `text`, which is UTF-8 (RFC 8259, section 8.1).

    Raises ValueError: json.JSONDecodeError (it tells where), UnicodeError, TooDeep.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        value = json.loads(text)
    except RecursionError:
        raise TooDeep from None
    if text.count("[") + text.count("{") > DEPTH_LIMIT and _is_too_deep(value):
        raise TooDeep
    if "\\ud" in text or "\\uD" in text:
        json.dumps(value, ensure_ascii=False).encode()  # half a character alone is none
    return value


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEPTH_LIMIT):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in _inside(outer)]
    return any(isinstance(each, dict | list) for each in level)


def _inside(outer: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return outer.values() if isinstance(outer, dict) else outer
