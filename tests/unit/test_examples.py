"""What stands in examples/ is valid, to the last document."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pullgate.resources import Secret, parse_resource
from pullgate.store.documents import read_documents

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.rglob("*.yaml"))


def test_there_are_examples() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(EXAMPLES)) for path in FILES])
def test_an_example_is_valid(path: Path) -> None:
    content = read_documents(path.read_text(), path.name)
    assert not content.problems
    for document in yaml.safe_load_all(path.read_text()):
        if document["kind"] != "Secret":
            assert not isinstance(parse_resource(document), Secret)
