"""A client that was closed stays closed: a late retry opens no connection that nobody would close."""

from __future__ import annotations

import pytest

from pullgate import faults
from pullgate.upstream.client import Upstream
from tests.component.upstream.stage import Reply, Stage, replies
from tests.component.upstream.test_failures import MANIFEST, OK


async def test_a_request_after_the_close_is_refused_and_reaches_nobody() -> None:
    async with Stage(replies(OK, Reply(500))) as stage:
        upstream = Upstream(stage.config())
        await upstream.fetch_manifest(MANIFEST)
        await upstream.close()
        with pytest.raises(faults.ShuttingDown):
            await upstream.send(MANIFEST)
        assert len(stage.asked) == 1
