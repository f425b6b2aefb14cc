"""The proxy over a store in memory, with as many licenses as asked for: `python -m benchmarks.serve CONFIG.json`.

The licenses are made here and not read from a folder, so that 100,000 of them start in seconds; the proxy is the real
one.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pullgate.licensing.keys import digest_text, key_digest, new_key
from pullgate.providers.credentials import Credentials
from pullgate.providers.handoff import Handoff, TokenKey, encode_handoff, encode_signing_keys
from pullgate.store.port import Change, Key, Synced
from pullgate_proxy.app import Proxy
from pullgate_proxy.pull_log import PullLog
from pullgate_proxy.settings import ProxySettings

APP = "my-app"


class MemoryStore:
    """The part of a Store that the proxy uses: present documents, Synced, then silence."""

    def __init__(self, documents: list[tuple[Key, dict[str, Any]]]) -> None:
        self._documents = documents

    async def watch(self, kinds: frozenset[str]) -> AsyncIterator[Change | Synced]:
        """Everything, then nothing more."""
        for number, (key, document) in enumerate(self._documents):
            if key.kind in kinds:
                yield Change(key, document)
            if number % 500 == 0:
                await asyncio.sleep(0)
        self._documents.clear()
        yield Synced()
        await asyncio.Event().wait()


def build_documents(upstream: dict[str, str], licenses: int, first_key: str) -> list[tuple[Key, dict[str, Any]]]:
    """A Registry with its credentials and `licenses` Licenses, the first with `first_key`."""
    registry = {
        "apiVersion": "pullgate.dev/v1alpha1",
        "kind": "Registry",
        "metadata": {"name": "upstream", "namespace": APP, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {
            "type": "Generic",
            "host": upstream["host"],
            "credentials": {"secretRef": {"name": "upstream"}},
            "tls": {"plainHTTP": True},
        },
    }
    handoff = encode_handoff(
        Handoff(
            APP, "upstream", uid="u1", generation=1, credentials=Credentials(upstream["username"], upstream["password"])
        )
    )
    now = datetime.now(UTC)
    signing = encode_signing_keys((TokenKey("bench", b"k" * 32, now, now + timedelta(days=1)),))
    documents = [
        (Key("Registry", APP, "upstream"), registry),
        (Key("Secret", handoff["metadata"]["namespace"], handoff["metadata"]["name"]), handoff),
        (Key("Secret", signing["metadata"]["namespace"], signing["metadata"]["name"]), signing),
    ]
    for number in range(licenses):
        key = first_key if number == 0 else new_key()
        documents.append((Key("License", APP, f"customer-{number}"), _license(f"customer-{number}", key)))
    return documents


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


async def main(config: dict[str, Any]) -> None:
    """Serve until SIGTERM."""
    settings = ProxySettings(
        listen_port=config["port"],
        admin_port=config["admin_port"],
        external_url=f"http://127.0.0.1:{config['port']}",
        drain_seconds=1,
    )
    documents = build_documents(config["upstream"], config["licenses"], config["key"])
    with Path("/dev/null").open("w") as sink:
        proxy = Proxy(settings, MemoryStore(documents), PullLog(sink, "json"))  # type: ignore[arg-type]
        del documents
        await proxy.start()
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await stopped.wait()
        await proxy.stop()


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
