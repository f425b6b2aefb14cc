"""JSON that the reader accepts can be walked, shown and written again."""

from __future__ import annotations

import contextlib
import gc
import json
import sys

import pytest

from pullgate.oci.json_text import (
    CONTAINER_LIMIT,
    DEPTH_LIMIT,
    MEMBER_LIMIT,
    NUMBER_LIMIT,
    VALUE_LIMIT,
    TooDeep,
    TooMuch,
    read_json,
)


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


HOSTILE = {
    "lists": "[" + "[]," * CONTAINER_LIMIT + "0]",
    "objects": "[" + "{}," * CONTAINER_LIMIT + "0]",
    "deep": "[" + ("[" * 60 + "]" * 60 + ",") * (CONTAINER_LIMIT // 60 + 1) + "0]",
    "fields": json.dumps(dict.fromkeys(map(str, range(MEMBER_LIMIT + 1)), 0)),
    "values": "[" + "0," * (VALUE_LIMIT + 1) + "0]",
    "a long whole number": "[" + "1" * (NUMBER_LIMIT + 1) + "]",
    "a long fraction": "[0." + "1" * NUMBER_LIMIT + "]",
    "a long exponent": "[1e" + "1" * NUMBER_LIMIT + "]",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_would_hold_the_interpreter_is_refused_before_it_is_read(kind: str) -> None:
    with pytest.raises(TooMuch):
        read_json(HOSTILE[kind])


def test_the_largest_real_documents_are_read() -> None:
    tags = [f"1.{number}.0-alpine3.{number % 20}" for number in range(130_000)]
    assert len(read_json(json.dumps({"name": "library/node", "tags": tags}))["tags"]) == 130_000
    platform = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    child = {"mediaType": "application/json", "digest": "sha256:" + "0" * 64, "size": 1, "platform": platform}
    assert len(read_json(json.dumps({"manifests": [child] * 5000}))["manifests"]) == 5000
    assert read_json("[1, -0.5, 1e300, 12345678901234567890]") == [1, -0.5, 1e300, 12345678901234567890]


def test_a_reader_that_nobody_waits_for_may_take_more() -> None:
    assert len(read_json(HOSTILE["lists"], scale=2)) == CONTAINER_LIMIT + 1


@pytest.mark.parametrize("text", [HOSTILE["fields"], "[" + "{}," * 2000 + "0]", "[" + "{}," * 2000])
def test_garbage_is_collected_again_after_a_large_document(text: str) -> None:
    with contextlib.suppress(ValueError):
        read_json(text)
    assert gc.isenabled()
    collected = gc.get_stats()[2]["collections"]
    read_json("[" + "{}," * (CONTAINER_LIMIT - 2) + "0]")
    assert gc.get_stats()[2]["collections"] == collected
