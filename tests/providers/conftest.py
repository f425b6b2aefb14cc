"""The registry behind all fronts."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.providers.stage import LARGE, SMALL
from tests.support.background import in_background
from tests.support.images import image
from tests.support.upstreams import DockerRegistry


@contextlib.asynccontextmanager
async def _seeded() -> AsyncIterator[DockerRegistry]:
    async with DockerRegistry("none") as registry:
        await registry.push("my-org/small", "1", SMALL)
        await registry.push("my-org/large", "1", LARGE)
        await registry.push("my-org/secret", "1", image("secret"))
        await registry.push("ratelimitpreview/test", "latest", image("preview"))
        yield registry


@pytest.fixture(scope="session")
def held() -> Iterator[str]:
    """Its URL."""
    with in_background(_seeded()) as registry:
        yield registry.url
