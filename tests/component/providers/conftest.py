"""The clouds of a test: their names lead to one scripted server, whose certificates are trusted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.fakes.clouds.scripted import ScriptedClouds
from tests.support.fakes.clouds.tunnel import Tunnel

AMBIENT = (
    "AZURE_AUTHORITY_HOST AZURE_FEDERATED_TOKEN_FILE AZURE_CLIENT_ID AZURE_TENANT_ID IDENTITY_ENDPOINT MSI_ENDPOINT "
    "GOOGLE_APPLICATION_CREDENTIALS GCE_METADATA_HOST NO_PROXY no_proxy HTTP_PROXY http_proxy https_proxy"
)


@pytest_asyncio.fixture
async def clouds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[ScriptedClouds]:
    for name in AMBIENT.split():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    async with ScriptedClouds() as server, Tunnel(server.host) as tunnel:
        bundle = tmp_path / "clouds.pem"
        bundle.write_text(server.authority.pem)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
        server.tunnel = tunnel
        yield server
