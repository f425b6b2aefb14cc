"""docs/adding-a-type.md is right: its file and its rows, added to a copy, make a type that is guided and logs in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pullgate.providers.provider import Provider
from tests.support.cli import pullgate
from tests.support.fakes.front import Flavour, Front

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "adding-a-type.md"
GITEA = Flavour("gitea", token_path="/v2/token", service="container_registry")
TOKEN = "0123456789abcdef0123456789abcdef01234567"


def blocks(language: str) -> list[str]:
    """The page's code."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.S)


def add_rows(core: Path, diff: str) -> None:
    """Apply one of the page's diffs: what it shows must be there once."""
    head, *lines = diff.splitlines(keepends=True)
    path = core.parent / head.removeprefix("--- ").strip()
    old = "".join(line[1:] for line in lines if not line.startswith("+"))
    text = path.read_text()
    assert text.count(old) == 1, f"{path.name} has not once:\n{old}"
    path.write_text(text.replace(old, "".join(line[1:] for line in lines)))


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PYTHONPATH with a copy of core/ that has the type of the page."""
    found = tmp_path_factory.mktemp("added") / "core"
    shutil.copytree(ROOT / "core", found, ignore=shutil.ignore_patterns("__pycache__"))
    (code,) = blocks("python")
    (found / "pullgate" / "providers" / "types" / "gitea.py").write_text(code)
    for diff in blocks("diff"):
        add_rows(found, diff)
    return str(found)


async def test_the_new_type_is_listed_and_guided(core: str) -> None:
    table = await pullgate("registry", "guide", PYTHONPATH=core)
    assert "Gitea container registry" in table.output
    guide = await pullgate("registry", "guide", "gitea", "--name", "packages", "-n", "shop", PYTHONPATH=core)
    assert guide.code == 0, guide.output
    assert "type: Gitea" in guide.output
    assert "pullgate registry test packages -n shop" in guide.output


async def test_the_new_type_logs_in_and_says_what_is_wrong(core: str) -> None:
    async with Front(GITEA, "http://127.0.0.1:1") as front:
        front.accept("my-bot", TOKEN)
        about = ["--type", "Gitea", "--host", front.host, "--plain-http", "--username", "my-bot", "--password-stdin"]
        right = await pullgate("registry", "test", *about, stdin=TOKEN, PYTHONPATH=core)
        assert right.code == 0, right.output
        assert "my-bot is let in" in right.output
        wrong = await pullgate("registry", "test", *about, stdin="correct CANARY horse", PYTHONPATH=core)
    assert wrong.code == 1
    assert "generate a new token with read:package for my-bot" in " ".join(wrong.output.split())
    assert "this is no token of Gitea (40 characters)" in " ".join(wrong.output.split())


@pytest.mark.parametrize("test", ["test_types_page.py", "test_guides.py"])
def test_a_type_without_page_example_and_fake_fails_tests(core: str, test: str) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", f"tests/unit/providers/{test}", "-k", "Gitea"]
    env = {**os.environ, "PYTHONPATH": core}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"FAILED .*Gitea", done.stdout)


def test_the_page_names_every_field_of_a_provider() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.M)
    assert rows == list(Provider.__dataclass_fields__)
