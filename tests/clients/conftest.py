"""Every client once for a worker; a client's tests share a worker, so that a daemon starts once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.clients import CLIENTS, Client

EACH_CLIENT = [pytest.param(name, marks=pytest.mark.xdist_group(f"client {name}")) for name in CLIENTS]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=EACH_CLIENT)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A client, with its daemon if it has one."""
    async with CLIENTS[request.param]() as running:
        yield running
