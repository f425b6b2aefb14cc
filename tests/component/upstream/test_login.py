"""The login's check: what is left of the rate limit is known where the ping does not tell it."""

from __future__ import annotations

import pytest

from pullgate.policy.tenancy import LOOPBACK
from pullgate.providers.types import PROVIDERS
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.login import Quota, check_login
from tests.support.upstreams import ScriptedRegistry, faults

QUOTA = PROVIDERS["DockerHub"].quota
HEADERS = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600", "docker-ratelimit-source": "1.2.3.4"}


def config_of(upstream: ScriptedRegistry) -> UpstreamConfig:
    return UpstreamConfig(
        "my-app/hub", upstream.host, upstream.host, plain_http=True, allow_private=True, networks=LOOPBACK
    )


async def test_docker_hubs_rate_limit_is_read_by_a_head_that_is_not_counted() -> None:
    async with ScriptedRegistry() as upstream:
        upstream.on("HEAD", "/v2/ratelimitpreview/test/manifests/latest", faults.answer(200, headers=HEADERS))
        found = await check_login(config_of(upstream), QUOTA)
        assert found.quota == Quota(100, 76, 21600.0)
        assert [r.method for r in upstream.requests if "ratelimitpreview" in r.target] == ["HEAD"]


@pytest.mark.parametrize("status", [401, 404, 429, 500])
async def test_a_rate_limit_that_cannot_be_read_fails_no_login(status: int) -> None:
    async with ScriptedRegistry() as upstream:
        upstream.on("HEAD", "/v2/ratelimitpreview/", faults.answer(status))
        found = await check_login(config_of(upstream), QUOTA)
        assert found.authenticated
        assert found.quota is None


async def test_other_registries_are_not_asked_for_it() -> None:
    async with ScriptedRegistry() as upstream:
        assert (await check_login(config_of(upstream))).authenticated
        assert not [r for r in upstream.requests if "manifests" in r.target]
