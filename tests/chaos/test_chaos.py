"""No toxic makes the proxy bring a wrong byte to its end, and none costs a pull once it is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos.catalog import SCENARIOS
from tests.chaos.scenarios import Scenario, run
from tests.chaos.stage import Stage

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("chaos")]

SECONDS = 0.5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with Stage(tmp_path_factory.mktemp("chaos"), workers=4, pause=0.03).up() as running:
        yield running


@pytest.mark.parametrize("found", SCENARIOS, ids=[f"{s.where}: {s.name}" for s in SCENARIOS])
async def test_no_wrong_byte_ends_well_and_no_pull_is_lost_afterwards(stage: Stage, found: Scenario) -> None:
    result = await run(stage, found, SECONDS)
    assert result.tally.tried
    assert result.good, result
    if found.behind and "bit is wrong" in found.name:
        assert result.tally.wrong, "the client's check was not put to the test"
