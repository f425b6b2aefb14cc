"""docs/architecture.md names every room of the code, and every path that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
SOURCES = ("core", "proxy", "operator", "cli")


def test_every_room_has_a_row() -> None:
    rooms = {
        str(module.parent.relative_to(ROOT)) for source in SOURCES for module in (ROOT / source).rglob("__init__.py")
    }
    assert rooms
    assert {room for room in rooms if f"| `{room}` |" not in PAGE} == set()


def test_every_path_that_it_names_exists() -> None:
    named = set(re.findall(r"`((?:core|proxy|operator|cli|deploy|tests|benchmarks|docs)/[^`\s]*)`", PAGE))
    assert named
    assert {path for path in named if not (ROOT / path).exists()} == set()
