"""JSON that others wrote, as values that can be walked, shown and written anew. Pure.

`json` accepts nesting up to the stack's limit and unpaired surrogates; to show or encode such a value fails later. So
`read_json` refuses nesting that none of our documents reaches, and text that cannot be encoded.

`json.loads` holds the interpreter's lock from its begin to its end, in a thread as well, and its time depends on what
the text holds more than on its length: 4 MiB are 10 ms of tags, and a second of empty lists. So what costs much is
counted first. The counts are of signs, also those inside of strings, and bound a call to some 50 ms.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable
from typing import Any

DEPTH_LIMIT = 64
"""Objects and lists in each other."""
CONTAINER_LIMIT = 50_000
"""Signs `[` and `{`; an index of 10,000 manifests with their platforms has 20,001."""
MEMBER_LIMIT = 60_000
"""Signs `:`, one for each field of an object; 5,000 descriptors with platform and annotations have up to 60,000."""
VALUE_LIMIT = 400_000
"""Signs `,`; a list of 170,000 tags in one page was seen at Docker Hub's largest repositories."""
NUMBER_LIMIT = 64
"""Characters of a number: Python's time for a long one grows with the square of its length."""


_MANY = 1_000


class TooMuch(ValueError):
    """More values, fields, or digits than the bounds allow."""

    def __init__(self) -> None:
        super().__init__("holds too many values")


class TooDeep(ValueError):
    """Objects and lists are nested deeper than DEPTH_LIMIT."""

    def __init__(self) -> None:
        super().__init__("nested too deep")


def read_json(text: str | bytes, *, scale: int = 1) -> Any:
    """The value of `text`, which is UTF-8 (RFC 8259, section 8.1).

    `scale` multiplies the bounds of how much it may hold, for a reader that nobody waits for.
    Raises ValueError: json.JSONDecodeError (it names the place), UnicodeError, TooDeep, TooMuch.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    containers = text.count("[") + text.count("{")
    if containers > CONTAINER_LIMIT * scale or text.count(":") > MEMBER_LIMIT * scale:
        raise TooMuch
    if text.count(",") > VALUE_LIMIT * scale:
        raise TooMuch
    try:
        value = _load(text, collect=containers < _MANY)
    except RecursionError:
        raise TooDeep from None
    if containers > DEPTH_LIMIT and _is_too_deep(value):
        raise TooDeep
    if "\\ud" in text or "\\uD" in text:
        json.dumps(value, ensure_ascii=False).encode()  # half a character alone is none
    return value


def _load(text: str, *, collect: bool) -> Any:
    """`json.loads`; without `collect` no garbage is collected meanwhile.

    A document of 10,000 objects, of which none is garbage, sets off a collection of all that the process holds: with
    10,000 Licenses that is 60 ms of 70.
    """
    pauses = not collect and gc.isenabled()
    if pauses:
        gc.disable()
    try:
        return json.loads(text, parse_int=_int, parse_float=_float)
    finally:
        if pauses:
            gc.enable()


def _int(digits: str) -> int:
    return int(_short(digits))


def _float(digits: str) -> float:
    return float(_short(digits))


def _short(digits: str) -> str:
    if len(digits) > NUMBER_LIMIT:
        raise TooMuch
    return digits


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEPTH_LIMIT):
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _inside(outer: Any) -> Iterable[Any]:
    if isinstance(outer, dict):
        return outer.values()
    return outer if isinstance(outer, list) else ()
