"""Range: one range of bytes, within what there is; anything else is ignored (RFC 9110, section 14.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.upstream.ranges import (
    RANGES_LENGTH,
    RANGES_LIMIT,
    Range,
    TooManyRanges,
    answers_range,
    parse_content_range,
    parse_range,
    parse_ranges,
)

SIZES = st.integers(0, 2**40)


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("bytes=0-", 10, (0, 10)),
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=9-", 10, (9, 10)),
        ("bytes=2-99", 10, (2, 10)),
        ("bytes=-3", 10, (7, 10)),
        ("bytes=-99", 10, (0, 10)),
        ("BYTES=1-2", 10, (1, 3)),
        ("bytes=10-", 10, None),
        ("bytes=-0", 10, None),
        ("bytes=-5", 0, None),
    ],
)
def test_a_range_is_its_bytes_of_what_there_is(text: str, size: int, expected: tuple[int, int] | None) -> None:
    found = parse_range(text)
    assert found is not None
    assert found.within(size) == expected


@pytest.mark.parametrize(
    "text", ["", "bytes", "bytes=", "bytes=-", "bytes=5-3", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b", "bytes=١-٢"]
)
def test_what_is_no_single_range_is_none(text: str) -> None:
    assert parse_range(text) is None


@given(st.text(max_size=60))
def test_no_text_is_anything_but_a_range_or_none(text: str) -> None:
    found = parse_range(text)
    assert found is None or isinstance(found, Range)


@given(SIZES, st.integers(0, 2**41), st.one_of(st.none(), st.integers(0, 2**41)))
def test_a_part_lies_within_the_whole_and_is_what_the_header_says(size: int, first: int, last: int | None) -> None:
    text = f"bytes={first}-{'' if last is None else last}"
    found = parse_range(text)
    if found is None:
        assert last is not None
        assert last < first
        return
    part = found.within(size)
    if part is None:
        assert first >= size
        return
    begin, end = part
    assert 0 <= begin < end <= size
    told = parse_content_range(f"bytes {begin}-{end - 1}/{size}")
    assert told is not None
    assert answers_range(text, told)


@pytest.mark.parametrize(
    ("text", "count"),
    [("bytes=0-1,3-4", 2), ("bytes=0-1, -5", 2), ("bytes=5-", 1), ("bytes=0-1,a-5", 0), ("lines=0-1,3-4", 0), ("", 0)],
)
def test_several_ranges_are_all_read_or_none(text: str, count: int) -> None:
    assert len(parse_ranges(text)) == count


@pytest.mark.parametrize("text", ["bytes=" + "0-0," * RANGES_LIMIT + "0-0", "bytes=0-0," + " " * RANGES_LENGTH + "2-2"])
def test_ranges_beyond_the_bounds_are_too_many(text: str) -> None:
    with pytest.raises(TooManyRanges):
        parse_ranges(text)
