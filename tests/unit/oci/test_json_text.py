"""What is read as JSON can be walked, shown and written anew."""

from __future__ import annotations

import json
import sys

import pytest

from pullgate.oci.json_text import DEPTH_LIMIT, TooDeep, read_json


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("depth", [DEPTH_LIMIT + 1, 500, *range(sys.getrecursionlimit() - 60, 1100, 7), 40_000])
def test_what_is_deeper_than_the_bound_is_refused_at_every_depth(depth: int) -> None:
    with pytest.raises(TooDeep):
        read_json(nested(depth))


def test_what_is_at_the_bound_or_wide_is_read() -> None:
    assert str(read_json(nested(DEPTH_LIMIT))).count("[") == DEPTH_LIMIT
    assert len(read_json(json.dumps([[{}]] * 1000))) == 1000


@pytest.mark.parametrize(
    "text", [b'"\\ud800"', b'"\\uDC00x"', b'"\xed\xa0\x80"', b'"\xff"', '"a"'.encode("utf-16"), b"", b"{"]
)
def test_what_cannot_be_written_again_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        read_json(text)


def test_whole_characters_are_read() -> None:
    assert read_json(b'\xef\xbb\xbf["\\ud83d\\ude00", "\xc3\xa9"]') == ["\U0001f600", "é"]
