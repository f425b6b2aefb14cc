"""docs/security.md names tests that exist, for every actor."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/.]+?)/?`", PAGE))
    assert len(named) > 10
    assert not [name for name in named if not (ROOT / name).exists()]


def test_every_actor_has_what_he_cannot_do_and_a_test_for_it() -> None:
    actors = re.findall(r"^\| \*\*(.+?)\*\*.*?\|(.*?)\|(.*?)\|(.*?)\|$", PAGE, re.M)
    assert len(actors) >= 8
    for actor, cannot, can, shown in actors:
        assert cannot.strip(), actor
        assert can.strip(), actor
        assert "`tests/" in shown, actor


def test_every_guard_names_the_room_that_holds_it() -> None:
    rooms = set(re.findall(r"\| `((?:core|proxy|operator)/[\w/.]+?)` \|", PAGE))
    assert rooms
    assert not [room for room in rooms if not (ROOT / room).exists()]
