"""All parsers by name.

`tests/fuzz/corpus/NAME/` holds a parser's seeds: what is usual, what stands at a bound, and what once broke it.
"""

from __future__ import annotations

from typing import Final

from tests.fuzz.parsers import oci, policy, providers, proxy, resources, upstream
from tests.fuzz.parsers.parser import Parser

PARSERS: Final[dict[str, Parser]] = {
    parser.name: parser for room in (oci, upstream, policy, resources, providers, proxy) for parser in room.PARSERS
}
