"""What stands in examples/ is valid, to the last document, and says what it is for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pullgate.resources import Secret, parse_resource
from pullgate.store.documents import read_documents

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.rglob("*.yaml"))
FOLDERS = sorted(path for path in EXAMPLES.iterdir() if path.is_dir())


def test_there_are_examples() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(EXAMPLES)) for path in FILES])
def test_an_example_is_valid(path: Path) -> None:
    content = read_documents(path.read_text(), path.name)
    assert not content.problems
    for document in yaml.safe_load_all(path.read_text()):
        if document["apiVersion"].startswith("pullgate.dev/"):
            assert not isinstance(parse_resource(document), Secret)


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_an_example_has_a_page_whose_links_lead_to_files(folder: Path) -> None:
    page = folder / "README.md"
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target
