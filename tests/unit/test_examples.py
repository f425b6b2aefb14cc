"""Every document in examples/ is valid, and each example says what it is for."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from pullgate.resources import Secret, parse_resource
from pullgate.store.documents import read_documents
from pullgate_cli.__main__ import main

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.rglob("*.yaml"))
CI_FILES = [
    path
    for path in sorted((EXAMPLES / "ci").rglob("*"))
    if path.suffix in {".yaml", ".yml"} and path.parent.name not in {"flux"}
]
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


@pytest.mark.parametrize("path", CI_FILES, ids=[str(path.relative_to(EXAMPLES)) for path in CI_FILES])
def test_a_command_in_an_example_has_only_options_that_there_are(path: Path) -> None:
    found = commands(path.read_text())
    assert found
    for line in found:
        words = shlex.split(line.replace("/kubeconfig", str(path)).replace("{{", "").replace("}}", ""))
        group: click.Command = main
        context = click.Context(main)
        while isinstance(group, click.Group):
            command = group.get_command(context, words.pop(0))
            assert command is not None, line
            group = command
        group.make_context("pullgate", words)


def commands(text: str) -> list[str]:
    """The arguments after `pullgate`, or those of its container."""
    found = re.findall(r"^\s*(?:- )?pullgate ((?:gate|image) .+)$", text, re.MULTILINE)
    found += re.findall(r"^\s*(gate -f .+)$", text, re.MULTILINE)
    for line in re.findall(r"args: \[(gate, .+)\]$", text, re.MULTILINE):
        found.append(line.replace(",", " "))
    block = re.search(r"args:\n((?:\s+- .+\n)+)", text)
    if block is not None:
        found.append(" ".join(re.findall(r"- (.+)", block[1])))
    return found


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_an_example_has_a_page_whose_links_lead_to_files(folder: Path) -> None:
    page = folder / "README.md"
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target
