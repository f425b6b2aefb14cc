"""The proxy's own certificate: used, and replaced without a restart."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from pullgate.oci.digest import digest_of
from pullgate_proxy.settings import InvalidSettings, ProxySettings
from tests.support.gate import APP, basic, license_, registry, running
from tests.support.images import large_image
from tests.support.tls import Authority
from tests.support.upstreams import ScriptedRegistry


async def serial(port: int, authority: Authority) -> int:
    context = ssl.create_default_context(cadata=authority.pem)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    peer = writer.get_extra_info("ssl_object").getpeercert()
    writer.close()
    return int(peer["serialNumber"], 16)


async def test_a_changed_certificate_is_served_without_a_restart(tmp_path: Path, authority: Authority) -> None:
    cert, key = authority.write_pair(tmp_path)
    async with running(tmp_path / "resources", license_("acme"), tls_cert=cert, tls_key=key) as gate:
        first = await serial(gate.proxy.port, authority)
        cert.write_text("not a certificate")
        await asyncio.sleep(1.2)
        assert await serial(gate.proxy.port, authority) == first
        authority.write_pair(tmp_path)
        async with asyncio.timeout(10):
            while await serial(gate.proxy.port, authority) == first:
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("kept", [False, True], ids=["streamed", "from the disk"])
async def test_a_large_blob_comes_whole_over_tls(tmp_path: Path, authority: Authority, kept: bool) -> None:
    cert, key = authority.write_pair(tmp_path)
    held = large_image(24 * 2**20)
    layer = next(iter(held.streams))
    settings = {"tls_cert": cert, "tls_key": key, "blob_cache": tmp_path / "cache" if kept else None}
    async with ScriptedRegistry() as upstream:
        await upstream.push("my-org/large", "1", held)
        documents = registry("upstream", upstream.host), license_("acme")
        async with running(tmp_path / "resources", *documents, **settings) as gate:
            url = f"https://localhost:{gate.proxy.port}/v2/proxy/{APP}/upstream/my-org/large/blobs/{layer}"
            headers = {"Authorization": basic("acme", gate.key("acme"))}
            trust = ssl.create_default_context(cadata=authority.pem)
            for _ in range(2):
                async with asyncio.timeout(10), gate.session.get(url, headers=headers, ssl=trust) as response:
                    assert digest_of(await response.read()) == layer


async def test_a_certificate_that_does_not_work_is_told_at_the_start(tmp_path: Path) -> None:
    cert = tmp_path / "tls.crt"
    cert.write_text("not a certificate")
    with pytest.raises(InvalidSettings, match="certificate"):
        async with running(tmp_path / "resources", tls_cert=cert, tls_key=cert):
            pass


def test_one_file_of_the_two_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="both files"):
        ProxySettings(tls_cert=Path("x"))
