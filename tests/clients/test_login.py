"""`docker login` and its kin: a right key logs in, a wrong one is refused in words and not at the first pull."""

from __future__ import annotations

from pathlib import Path

import pytest

from pullgate.licensing.keys import new_key
from tests.clients.conftest import EACH_CLIENT
from tests.support.clients import Client
from tests.support.clients.login import LOGINS, login
from tests.support.gate import license_, running

pytestmark = [pytest.mark.clients, pytest.mark.asyncio(loop_scope="module")]

HIDES_WORDS = {"skopeo", "podman"}
"""Their login says "invalid username/password" to every 401, whatever its body; their pull shows the words."""
WITH_LOGIN = [param for param in EACH_CLIENT if param.values[0] in LOGINS]


@pytest.mark.parametrize("client", WITH_LOGIN, indirect=True)
async def test_a_login_is_decided_and_explained_at_once(client: Client, tmp_path: Path) -> None:
    ended = license_("former", expiresAt="2026-10-01T00:00:00Z")
    async with running(tmp_path / "resources", license_("acme"), ended) as gate:
        right = await login(client, gate.host, "acme", gate.key("acme"), tmp_path / "right")
        assert right.exit_code == 0, right.output
        for key, words in (
            (gate.key("former"), "license former expired on 2026-10-01"),
            (new_key(), "no license has this key"),
            (gate.key("acme")[:-2], "it was cut or mistyped"),
        ):
            wrong = await login(client, gate.host, "acme", key, tmp_path / words.replace(" ", "-"))
            assert wrong.exit_code not in {0, 124}, wrong.output
            shown = "invalid username/password" if client.name in HIDES_WORDS else words
            assert shown in wrong.output
            assert key not in wrong.output
