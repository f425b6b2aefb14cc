"""Each parser accepts or refuses any input as documented, at every size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pullgate.oci.json_text import read_json
from tests.fuzz.parsers.parser import CORPUS, LARGEST, Parser
from tests.fuzz.parsers.table import PARSERS

ROOT = Path(__file__).parents[2]
SEEDS = [(name, seed) for name, parser in PARSERS.items() for seed in parser.seeds()]
ODD = (b"", b"\0", b"\n", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b'"', b"\\", b" ", b"-1", b"9" * 30)


@pytest.mark.parametrize(("name", "seed"), SEEDS)
def test_a_kept_input_is_taken_or_refused(name: str, seed: str) -> None:
    PARSERS[name].run(PARSERS[name].seeds()[seed])


@pytest.mark.parametrize("name", PARSERS)
def test_every_parser_has_seeds_that_it_takes_and_a_language(name: str) -> None:
    parser = PARSERS[name]
    assert len(parser.seeds()) >= 3
    assert parser.words
    assert any(parser.run(data) for data in parser.seeds().values())


def test_every_seed_is_of_a_parser() -> None:
    assert {path.name for path in CORPUS.iterdir() if path.is_dir()} == set(PARSERS)


def _changed(parser: Parser) -> st.SearchStrategy[bytes]:
    """Words of the parser's language in any order, and seeds with some of them put in, over or out."""
    piece = st.sampled_from([*parser.words, *ODD]) | st.binary(max_size=3)
    joined = st.lists(piece, max_size=12).map(b"".join)

    def change(seed: bytes) -> st.SearchStrategy[bytes]:
        place = st.integers(0, len(seed))
        edits = st.lists(st.tuples(place, st.integers(0, 12), piece), min_size=1, max_size=4)
        return edits.map(lambda each: _edit(seed, each))

    return joined | st.sampled_from(sorted(parser.seeds().values())).flatmap(change)


def _edit(seed: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for place, length, piece in edits:
        seed = seed[:place] + piece + seed[place + length :]
    return seed


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_input_is_taken_or_refused(name: str, data: st.DataObject) -> None:
    PARSERS[name].run(data.draw(_changed(PARSERS[name])))


@pytest.mark.parametrize("name", PARSERS)
def test_the_largest_input_comes_to_an_end(name: str) -> None:
    """Repeats each word, alone and after each seed: a parser with superlinear cost would not finish."""
    parser = PARSERS[name]
    size = min(parser.largest, LARGEST)
    for word in {*parser.words, b" ", b"a", b"(", b"\n"}:
        parser.run(word * (size // len(word)))
    for seed in parser.seeds().values():
        head = seed[: len(seed) // 2]
        parser.run((head + seed * (size // max(1, len(seed))))[: size // 4])
        parser.run(seed + b" " * max(0, size - len(seed)))


def test_the_guided_run_takes_the_table(tmp_path: Path) -> None:
    """Runs as in `make fuzz`, with a separate folder for the findings."""
    command = [sys.executable, "-m", "tests.fuzz.parsers", "--parser", "digest", "--seconds", "1"]
    env = {**os.environ, "PULLGATE_FUZZ_FOUND": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 parsers, broken: none" in done.stdout
    assert int(done.stdout.partition("digest: ")[2].partition(" inputs")[0]) > 100


def _values(document: Any) -> Iterator[bytes]:
    """`document` with each of its values in turn replaced by a mark."""
    waiting = [document]
    while waiting:
        outer = waiting.pop()
        inner = outer.items() if isinstance(outer, dict) else enumerate(outer) if isinstance(outer, list) else ()
        for key, value in list(inner):
            outer[key] = _MARK
            yield json.dumps(document).encode()
            outer[key] = value
            waiting.append(value)


def _deepest() -> int:
    """How many lists in each other `json` reads."""
    good, bad = 64, 1_000_000
    while bad - good > 1:
        depth = (good + bad) // 2
        try:
            json.loads("[" * depth + "]" * depth)
        except RecursionError:
            bad = depth
        else:
            good = depth
    return good


_MARK = "the-mark"


@pytest.mark.parametrize("name", [name for name, parser in PARSERS.items() if parser.is_json])
def test_json_as_deep_as_the_stack_is_refused(name: str) -> None:
    """`json` itself ends at the stack's end; what walks, shows or writes its value could go one level further."""
    parser, deepest = PARSERS[name], _deepest()
    ends = [at for end in {sys.getrecursionlimit(), deepest + 3} for at in range(end - 120, end, 16)]
    for seed in parser.seeds().values():
        start = min((at for at in (seed.find(b"{"), seed.find(b"[")) if at >= 0), default=-1)
        try:
            marked = {*_values(read_json(seed[start:])), b'"the-mark"'}
        except ValueError:  # no JSON, or deep already
            continue
        for each in marked:
            for depth in (63, 64, 65, 200, *ends):
                nest = b"[" * depth + b"]" * depth
                parser.run(seed[:start] + each.replace(b'"the-mark"', nest))
