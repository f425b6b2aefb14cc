"""The proxy's own certificate: used, and replaced without a restart."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from pullgate_proxy.settings import InvalidSettings, ProxySettings
from tests.support.gate import license_, running
from tests.support.tls import Authority


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


async def test_a_certificate_that_does_not_work_is_told_at_the_start(tmp_path: Path) -> None:
    cert = tmp_path / "tls.crt"
    cert.write_text("not a certificate")
    with pytest.raises(InvalidSettings, match="certificate"):
        async with running(tmp_path / "resources", tls_cert=cert, tls_key=cert):
            pass


def test_one_file_of_the_two_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="both files"):
        ProxySettings(tls_cert=Path("x"))
