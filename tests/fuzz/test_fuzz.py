"""Requests out of shape bring no 500, no hang, no growth, and nothing to the upstream that was not authorized."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.mutate import corpus
from tests.fuzz.run import Fuzzer

COUNT = 4_000
GROWTH = 64 * 1024
"""KiB that buffers and caches may take on the way; a leak of a few hundred bytes a request is found by `make fuzz`."""


def test_the_corpus_is_there() -> None:
    assert len(corpus()) >= 20


@pytest.mark.parametrize("seed", [1, 2])
async def test_requests_out_of_shape_harm_nothing(tmp_path: Path, seed: int) -> None:
    outcome = await Fuzzer(tmp_path, seed).run(COUNT)
    assert outcome.failed == []
    assert outcome.hung == []
    assert outcome.strange == []
    assert outcome.unanswered == 0
    assert outcome.statuses[200] >= 10, outcome.statuses  # some went well, in between
    assert outcome.memory[1] - outcome.memory[0] < GROWTH
