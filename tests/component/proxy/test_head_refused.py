"""An upstream that refuses HEAD (ECR Public) is pulled from, with a blob cache and after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.component.proxy.test_blob_cache import SIZE, blobs, world_of
from tests.support.upstreams import faults


@pytest.mark.parametrize("status", [401, 403, 405])  # 401: aws/containers-roadmap#2671
async def test_a_blob_on_the_disk_is_served_after_a_restart_though_head_is_refused(tmp_path: Path, status: int) -> None:
    async with world_of(tmp_path) as world:
        world.upstream.on("HEAD", "/blobs/", faults.answer(status))
        await world.pull()
        await world.gate.proxy.stop()
        world.gate.proxy = await world.gate.start_proxy()
        await world.gate.until(lambda: world.gate.proxy.snapshot.synced)
        await world.gate.until(lambda: blobs(world).keeper.size == SIZE)
        assert await world.pull() == (world.digest, "revalidated")


async def test_a_client_that_asks_by_head_is_answered_though_the_upstream_refuses_it(tmp_path: Path) -> None:
    async with world_of(tmp_path, blob_cache=None) as world:
        world.upstream.on("HEAD", "/blobs/", faults.answer(405))
        answer = await world.gate.ask("HEAD", world.path(), world.gate.key("acme"))
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(SIZE))
