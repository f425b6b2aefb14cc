"""The proxy over a store in memory, with as many licenses as asked for: `python -m benchmarks.serve CONFIG.json`.

The licenses are made here and not read from a folder, so that 100,000 of them start in seconds; the proxy is the real
one.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from pullgate.licensing.keys import digest_text, key_digest, new_key
from pullgate.policy.tenancy import LOOPBACK
from pullgate.providers.credentials import Credentials
from pullgate.providers.handoff import Handoff, TokenKey, encode_handoff, encode_signing_keys
from pullgate.store.port import Change, Key, Synced
from pullgate_proxy.app import Proxy
from pullgate_proxy.observe.pull_log import PullLog
from pullgate_proxy.settings import ProxySettings

APP = "my-app"


class MemoryStore:
    """The part of a Store that the proxy uses: present documents, Synced, then what is published."""

    def __init__(self, documents: Iterator[tuple[Key, dict[str, Any]]]) -> None:
        self._documents = documents
        self._changes: asyncio.Queue[Change] = asyncio.Queue()

    def publish(self, key: Key, document: dict[str, Any]) -> None:
        """A document that changed."""
        self._changes.put_nowait(Change(key, document))

    async def watch(self, kinds: frozenset[str]) -> AsyncIterator[Change | Synced]:
        """Everything, then each change."""
        for number, (key, document) in enumerate(self._documents):
            if key.kind in kinds:
                yield Change(key, document)
            if number % 500 == 0:
                await asyncio.sleep(0)
        yield Synced()
        while True:
            yield await self._changes.get()


def build_documents(upstream: dict[str, str], licenses: int, keys: list[str]) -> Iterator[tuple[Key, dict[str, Any]]]:
    """A Registry with its credentials and `licenses` Licenses, the first ones with `keys`; one after the other, as the

    API server's pages bring them.
    """
    registry = {
        "apiVersion": "pullgate.dev/v1alpha1",
        "kind": "Registry",
        "metadata": {"name": "upstream", "namespace": APP, "uid": "u1", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {
            "type": "Generic",
            "host": upstream["host"],
            "credentials": {"secretRef": {"name": "upstream"}},
            "tls": {"plainHTTP": True},
        },
    }
    handoff = encode_handoff(
        Handoff(
            APP,
            "upstream",
            uid="u1",
            generation=1,
            credentials=Credentials(upstream["username"], upstream["password"]),
            networks=LOOPBACK,
        )
    )
    now = datetime.now(UTC)
    signing = encode_signing_keys((TokenKey("bench", b"k" * 32, now, now + timedelta(days=1)),))
    yield Key("Registry", APP, "upstream"), registry
    yield Key("Secret", handoff["metadata"]["namespace"], handoff["metadata"]["name"]), handoff
    yield Key("Secret", signing["metadata"]["namespace"], signing["metadata"]["name"]), signing
    for number in range(licenses):
        key = keys[number] if number < len(keys) else new_key()
        yield Key("License", APP, f"customer-{number}"), _license(f"customer-{number}", key)


def _license(name: str, key: str) -> dict[str, Any]:
    return {
        "apiVersion": "pullgate.dev/v1alpha1",
        "kind": "License",
        "metadata": {"name": name, "namespace": APP},
        "spec": {
            "customer": {"name": name},
            "expiresAt": "2030-01-01T00:00:00Z",
            "entitlements": [{"registry": "upstream", "repositories": ["my-org/api", "charts/**"]}],
        },
        "status": {"keys": [{"id": "k1", "digest": digest_text(key_digest(key)), "issuedAt": "2026-01-01T00:00:00Z"}]},
    }


def _settings_of(given: dict[str, Any]) -> dict[str, Any]:
    found = dict(given)
    if "blob_cache" in found:
        found["blob_cache"] = Path(found["blob_cache"])
    if "peer_fetch" in found:
        found["peer_fetch"] = tuple((host, port) for host, port in found["peer_fetch"])
        found["peer_listen"] = tuple(found["peer_listen"])
    return found


async def _listen_for_revocations(config: dict[str, Any], store: MemoryStore) -> None:
    """GET /revoke/N suspends license N."""

    async def revoke(request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        document = _license(f"customer-{number}", config["keys"][number])
        document["spec"]["suspended"] = {"reason": "bench"}
        store.publish(Key("License", APP, f"customer-{number}"), document)
        return web.Response()

    app = web.Application()
    app.router.add_get("/revoke/{number}", revoke)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", config["control_port"]).start()


async def main(config: dict[str, Any]) -> None:
    """Serve until SIGTERM."""
    settings = ProxySettings(
        listen_port=config["port"],
        admin_port=config["admin_port"],
        external_url=f"http://127.0.0.1:{config['port']}",
        drain_seconds=1,
        **_settings_of(config["settings"]),
    )
    documents = build_documents(config["upstream"], config["licenses"], config["keys"])
    with Path("/dev/null").open("w") as sink:
        store = MemoryStore(documents)
        proxy = Proxy(settings, store, PullLog(sink, "json"))
        await proxy.start()
        await _listen_for_revocations(config, store)
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await stopped.wait()
        await proxy.stop()


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
