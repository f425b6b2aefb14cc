"""WWW-Authenticate, by RFC 9110, section 11.6.1: challenges joined by commas or in repeated fields.

No package reads these rightly, so this small parser is ours. It never raises: what is malformed ends the reading of its
field, and what was understood before it stands. Bounded in length and number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

FIELD_LIMIT = 8192
CHALLENGE_LIMIT = 16

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110, section 5.6.2
_SKIP = re.compile(r"[ \t,]*")
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t -~])*)"|({_TOKEN}))')
_SCHEME = re.compile(rf"({_TOKEN})(?=[ \t,]|\Z)")
_TOKEN68 = re.compile(r" +[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|\Z)")
_QUOTED_PAIR = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge."""

    scheme: str
    """Lower case."""
    parameters: Mapping[str, str]
    """Names in lower case; of a repeated one the first counts."""


def parse_challenges(fields: Iterable[str]) -> list[Challenge]:
    """All challenges of the given field values, in their order."""
    found: list[Challenge] = []
    for field in fields:
        if len(field) <= FIELD_LIMIT:
            _parse_field(field, found)
    return found[:CHALLENGE_LIMIT]


def _parse_field(text: str, found: list[Challenge]) -> None:
    position = _skip(text, 0)
    while position < len(text) and len(found) < CHALLENGE_LIMIT:
        scheme = _SCHEME.match(text, position)
        if scheme is None:
            return
        position = scheme.end()
        parameters: dict[str, str] = {}
        token68 = _TOKEN68.match(text, position)
        if token68 is not None and _PARAMETER.match(text, _skip(text, position)) is None:
            position = token68.end()
        else:
            position = _parse_parameters(text, position, parameters)
        found.append(Challenge(scheme[1].lower(), MappingProxyType(parameters)))
        position = _skip(text, position)


def _parse_parameters(text: str, position: int, parameters: dict[str, str]) -> int:
    while True:
        start = _skip(text, position)
        parameter = _PARAMETER.match(text, start)
        if parameter is None:
            return position
        name, quoted, plain = parameter.groups()
        value = plain if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
        parameters.setdefault(name.lower(), value)
        position = parameter.end()


def _skip(text: str, position: int) -> int:
    match = _SKIP.match(text, position)
    return match.end() if match else position


def format_challenge(scheme: str, parameters: Mapping[str, str]) -> str:
    """A challenge with every value quoted (RFC 9110, section 5.6.4). Values are printable ASCII."""
    quoted = (f'{name}="{_escape(value)}"' for name, value in parameters.items())
    return f"{scheme} " + ",".join(quoted)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
