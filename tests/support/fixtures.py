"""Fixtures for every test: the shared upstreams (do not write to them), and a scripted one of the test's own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.support.background import in_background
from tests.support.catalog import API, STABLE, catalog, referrers, seed
from tests.support.tls import Authority
from tests.support.upstreams import DockerRegistry, ScriptedRegistry
from tests.support.upstreams.docker_registry import Auth


@contextlib.asynccontextmanager
async def _seeded(auth: Auth) -> AsyncIterator[DockerRegistry]:
    async with DockerRegistry(auth) as registry:
        await seed(registry)
        await registry.push_referrers(API, catalog()[API, STABLE], referrers())
        yield registry


@pytest.fixture(scope="session")
def docker_registry_basic() -> Iterator[DockerRegistry]:
    """A real registry behind htpasswd, with the catalog in it."""
    with in_background(_seeded("basic")) as registry:
        yield registry


@pytest.fixture(scope="session")
def docker_registry_token() -> Iterator[DockerRegistry]:
    """A real registry behind a token server (`.tokens`), with the catalog in it."""
    with in_background(_seeded("token")) as registry:
        yield registry


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedRegistry]:
    """A scripted registry without authentication, with the catalog in it."""
    async with ScriptedRegistry() as registry:
        await seed(registry)
        yield registry


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that decompresses nothing."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


@pytest.fixture(scope="session")
def authority() -> Authority:
    """A certificate authority that nobody trusts until told to."""
    return Authority()
