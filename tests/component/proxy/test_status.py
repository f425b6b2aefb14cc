"""/status of the admin port tells the watch, the disk, the peers and the object store as they are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from pullgate.store.cluster.reflector import Contact
from pullgate_proxy.app import Proxy
from pullgate_proxy.observe.admin import build_admin
from tests.support.gate import Gate, license_, registry, running
from tests.support.ports import free_port


async def status_of(gate: Gate, proxy: Proxy) -> dict[str, Any]:
    async with gate.session.get(f"http://127.0.0.1:{proxy.admin_port}/status") as answer:
        assert answer.status == 200
        found: dict[str, Any] = await answer.json()
        return found


async def test_a_proxy_without_parts_tells_none(tmp_path: Path) -> None:
    async with running(tmp_path, registry("upstream", "registry.test"), license_("acme")) as gate:
        await gate.until(lambda: gate.proxy.known() == {"Registry": 1, "License": 1, "key": 1})
        assert await status_of(gate, gate.proxy) == {
            "ready": True,
            "why": "",
            "watch": None,
            "known": {"Registry": 1, "License": 1, "key": 1},
            "disk": None,
            "objectStore": None,
            "peers": None,
        }


async def test_the_disk_and_the_peers_are_shown(tmp_path: Path) -> None:
    port, gone = free_port(), free_port()
    peers = {"peer_fetch": (("127.0.0.1", port), ("127.0.0.1", gone)), "peer_listen": ("127.0.0.1", port)}
    async with running(tmp_path / "r", blob_cache=tmp_path / "cache", **peers) as gate:
        membership = gate.proxy.caches._peers
        assert membership is not None
        await gate.until(lambda: membership.membership.known == 2)
        membership.membership.note_down(("127.0.0.1", gone))
        found = await status_of(gate, gate.proxy)
        assert found["disk"] == {"usable": True, "bytes": 0, "files": 0}
        assert found["peers"] == {"known": 2, "down": 1}


async def test_a_watch_that_is_lost_or_silent_is_dead(tmp_path: Path) -> None:
    contact = Contact()
    async with (
        running(tmp_path) as gate,
        TestClient(TestServer(build_admin(gate.proxy, contact))) as client,
    ):

        async def watch() -> Any:
            return (await (await client.get("/status")).json())["watch"]

        assert (await watch())["alive"]
        contact.lose("License", "the API server cannot be reached: connection refused")
        lost = await watch()
        assert (lost["alive"], lost["problem"]) == (False, "the API server cannot be reached: connection refused")
        contact.found("License")
        contact.heard = time.monotonic() - 201
        silent = await watch()
        assert (silent["alive"], silent["ageSeconds"] > 200) == (False, True)
