"""The object store is reached through the egress proxy that the environment names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from pullgate.oci.digest import digest_of
from tests.component.proxy.test_object_store import LAYER, s3, world_of
from tests.support.upstreams.connect_proxy import ConnectProxy

__all__ = ["s3"]


async def test_the_store_is_asked_through_the_egress_proxy(
    s3: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with aiohttp.ClientSession() as session:
        await session.post(f"{s3}/moto-api/reset")
        await session.put(f"{s3}/my-bucket")
    async with ConnectProxy({"s3.eu-central-1.amazonaws.com": urlsplit(s3).netloc}) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.host}")
        async with world_of(tmp_path, "http://s3.eu-central-1.amazonaws.com") as world:
            assert digest_of((await world.get()).body) == LAYER
            await world.until_uploaded()
            answer = await world.get(proxy=await world.another())
            assert digest_of(answer.body) == LAYER
            assert world.asked() == 1
        methods = {each.partition(" ")[0] for each in proxy.asked}
        assert methods == {"HEAD", "PUT", "GET"}
