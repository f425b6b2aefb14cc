"""A Pullgate before a real registry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.gate import Gate, license_, registry, running, secret
from tests.support.upstreams import DockerRegistry


@pytest.fixture
async def gate(tmp_path: Path, docker_registry_basic: DockerRegistry) -> AsyncIterator[Gate]:
    """Registry `upstream` (a real docker-registry behind htpasswd), License `acme` for everything in it."""
    upstream = docker_registry_basic
    documents = [
        secret("vendor", upstream.username, upstream.password),
        registry("upstream", upstream.host, secret="vendor", domains=["images.myapp.test"]),
        license_("acme"),
    ]
    async with running(tmp_path / "resources", *documents) as gate:
        yield gate
