"""Credentials that end: the Registry's conditions and the operator's metrics say so while pulls still go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from pullgate.resources.conditions import read_condition
from pullgate.resources.fields import format_time
from pullgate.store.port import Key
from pullgate_operator.metrics import Metrics
from tests.providers.stage import TIMEOUTS, opaque, registry_of
from tests.support.fakes.flavours import FLAVOURS
from tests.support.fakes.front import Front
from tests.support.gate import APP, license_, running

pytestmark = pytest.mark.asyncio

UP = Key("Registry", APP, "up")


@pytest.mark.parametrize("told_by", ["the token itself", "the annotation"])
async def test_an_end_that_is_near_is_a_condition_and_a_metric(held: str, tmp_path: Path, told_by: str) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=5)
    token = jwt.encode({"exp": int(end.timestamp())}, "k" * 32, algorithm="HS256")
    password = token if told_by == "the token itself" else "cmVmdSECRET"
    secret: dict[str, Any] = opaque("vendor", {"username": "puller", "password": password})
    if told_by == "the annotation":
        secret["metadata"]["annotations"] = {"pullgate.dev/expires-at": format_time(end)}
    async with Front(FLAVOURS["Artifactory"], held) as front:
        front.accept("puller", password)
        async with running(
            tmp_path / "resources", secret, registry_of("Artifactory", front), license_("acme"), **TIMEOUTS
        ) as gate:
            answer = await gate.get(f"/v2/proxy/{APP}/up/docker-local/my-org/small/manifests/1", gate.key("acme"))
            assert answer.status == 200

            def soon() -> dict[str, Any]:
                return dict(read_condition(gate.store._documents.get(UP) or {}, "CredentialsExpiringSoon"))

            await gate.until(lambda: soon().get("status") == "True")
            assert f"the credentials of Secret vendor end {format_time(end)}" in soon()["message"]
            document = await gate.store.get(UP) or {}
    assert document["status"]["credentials"]["expiresAt"] == format_time(end)
    metrics = Metrics()
    metrics.show([document], [], datetime.now(UTC))
    line = 'pullgate_registry_credentials_expiry_timestamp_seconds{name="up",namespace="my-app",renewed="false"}'
    assert any(row.startswith(line) for row in metrics.render().decode().splitlines())
