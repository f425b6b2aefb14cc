"""The table of the registry types has no empty cell, and says nothing that the code has not."""

from __future__ import annotations

import pytest

from pullgate.faults import fault_in_words
from pullgate.providers.hints import hint
from pullgate.providers.types import GUIDES, PROVIDERS
from tests.providers.types_page import MISSING, PAGE, ROOT, gaps, render
from tests.support.fakes.flavours import FLAVOURS, LOGINS
from tests.support.fakes.kinds import kinds_of
from tests.support.proven import COLUMNS

ALL = {(name, column) for name in GUIDES for column in (*COLUMNS, *kinds_of(name)) if (name, column) not in MISSING}


def test_the_page_is_that_of_a_whole_run() -> None:
    assert not gaps(ALL)
    assert PAGE.read_text() == render(ALL), "run `make docs`"


@pytest.mark.parametrize("name", GUIDES)
def test_a_type_has_guide_hints_page_example_and_fake(name: str) -> None:
    assert (ROOT / "docs" / "registries" / f"{name}.md").exists()
    assert (ROOT / "examples" / "registries" / f"{name}.yaml").exists()
    assert name in FLAVOURS
    assert name in LOGINS
    assert kinds_of(name)
    assert PROVIDERS[name].suspect is not None
    # A registry of no known provider has the hints of all.
    assert PROVIDERS[name].hints or name == "Generic"
    assert hint(name, fault_in_words("UpstreamUnauthorized", "x"))


def test_a_cell_is_shown_or_explained_and_never_both() -> None:
    assert {column for _, column in MISSING} == {"identity", "renewal", "ends in mid-blob"}
