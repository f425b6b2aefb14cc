"""Requests out of shape against a running proxy, and what must hold meanwhile."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from tests.chaos.stage import Process
from tests.fuzz.mutate import corpus, mutate
from tests.support.canaries import FOUND
from tests.support.catalog import WORKER, catalog, seed
from tests.support.gate import APP, license_, registry, secret
from tests.support.ports import free_port
from tests.support.upstreams import ScriptedRegistry

ANSWER_SECONDS: Final = 15.0
"""Within which every connection that was ended by the client must be ended by the proxy."""
QUIET_SECONDS: Final = 0.1
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_SAFE_PATH: Final = re.compile(
    r"/v2/([a-z0-9]+([._/-]+[a-z0-9]+)*/(manifests|blobs|referrers|tags)/[A-Za-z0-9_][A-Za-z0-9:._-]*(\?[!\"$-;=?-~]*)?)?\Z"
)
"""Paths in the grammar of the distribution-spec; the entitlement decides which repositories are allowed."""


@dataclass(slots=True)
class Outcome:
    """The result of a run."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    silent: int = 0
    """Connections that the proxy closed without an answer: the request was not even HTTP."""
    hung: list[bytes] = field(default_factory=list)
    failed: list[bytes] = field(default_factory=list)
    """Requests that were answered 500."""
    unanswered: int = 0
    """Plain requests in between that were not answered."""
    strange: list[str] = field(default_factory=list)
    """Requests at the upstream that the proxy must never send."""
    memory: tuple[int, int] = (0, 0)
    """Resident memory in KiB after the first tenth, and at the end."""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """True if every invariant held."""
        return not (self.hung or self.failed or self.unanswered or self.strange)


class Fuzzer:
    """A proxy before a scripted upstream, and the one who sends."""

    def __init__(self, directory: Path, seed_number: int) -> None:
        self._directory = directory
        self._rng = random.Random(seed_number)
        self.outcome = Outcome()

    async def run(self, count: int, connections: int = 64) -> Outcome:
        """Send `count` requests."""
        async with ScriptedRegistry("basic") as upstream:
            await seed(upstream)
            folder = self._directory / "folder"
            folder.mkdir()
            documents = [
                secret("vendor", upstream.username, upstream.password),
                registry("up", upstream.host, secret="vendor"),
                license_("acme"),
            ]
            (folder / "all.yaml").write_text(yaml.safe_dump_all(documents))
            process = Process(folder, free_port())
            await process.start()
            try:
                await self._send_all(process, count, connections)
            finally:
                await process.end()
            self._look_at(upstream)
            self.outcome.strange += map(str, FOUND)
        return self.outcome

    async def _send_all(self, process: Process, count: int, connections: int) -> None:
        login = await self._login(process.folder)
        blob = catalog()[WORKER, "1.0.0"].config.encode()
        host = f"127.0.0.1:{process.port}".encode()
        seeds = [s.replace(b"{host}", host).replace(b"{login}", login).replace(b"{blob}", blob) for s in corpus()]
        plain = next(s for s in seeds if s.startswith(b"HEAD /v2/proxy"))
        began, first = time.monotonic(), 0
        while self.outcome.sent < count:
            batches = [
                [mutate(self._rng, self._rng.choice(seeds)) for _ in range(self._rng.randint(1, 4))]
                for _ in range(connections)
            ]
            await asyncio.gather(*(self._send(process.port, batch) for batch in batches))
            if not first and self.outcome.sent >= count / 10:
                first = _memory(process)
            if self._rng.random() < 0.02 and 200 not in (await self._exchange(process.port, plain))[0]:
                self.outcome.unanswered += 1
        self.outcome.memory = (first, _memory(process))
        self.outcome.seconds = time.monotonic() - began

    def _batch(self, seeds: list[bytes]) -> list[bytes]:
        """One to four mutated requests, pipelined over one connection."""
        return [mutate(self._rng, self._rng.choice(seeds)) for _ in range(self._rng.randint(1, 4))]

    async def _login(self, folder: Path) -> bytes:
        path = folder / ".pullgate" / "secrets" / APP / "acme-pull.yaml"
        while not await asyncio.to_thread(path.exists):
            await asyncio.sleep(0.05)
        config = json.loads(yaml.safe_load(path.read_text())["stringData"][".dockerconfigjson"])
        key = next(iter(config["auths"].values()))["password"]
        await asyncio.sleep(1)  # the key is known a moment after it is written
        return base64.b64encode(f"acme:{key}".encode())

    async def _send(self, port: int, batch: list[bytes]) -> None:
        self.outcome.sent += len(batch)
        statuses, hung = await self._exchange(port, b"".join(batch))
        self.outcome.statuses.update(statuses)
        self.outcome.silent += not statuses
        if hung and len(self.outcome.hung) < 20:
            self.outcome.hung.append(b"".join(batch))
        if 500 in statuses and len(self.outcome.failed) < 20:
            self.outcome.failed.append(b"".join(batch))

    async def _exchange(self, port: int, data: bytes) -> tuple[list[int], bool]:
        """The statuses of the answers, and True if the connection hung."""
        received = bytearray()
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                with contextlib.suppress(ConnectionError):
                    writer.write(data)
                    await writer.drain()
                    # If no answer came, the proxy waits for the rest of the request, as it may; EOF ends the wait.
                    await _read(reader, received, QUIET_SECONDS)
                    writer.write_eof()
                    await _read(reader, received, ANSWER_SECONDS)
                return _statuses(received), False
        except TimeoutError:
            return _statuses(received), True
        except OSError:
            return _statuses(received), False
        finally:
            if writer is not None:
                writer.transport.abort()

    def _look_at(self, upstream: ScriptedRegistry) -> None:
        """Every request upstream is one that the proxy builds, with the vendor's login or none."""
        for request in upstream.requests:
            given = request.headers.get("Authorization", "Basic ")
            odd = not _SAFE_PATH.fullmatch(request.target) or request.method not in {"GET", "HEAD"}
            if odd or not given.startswith("Basic ") or "evil" in str(request.headers):
                self.outcome.strange.append(f"{request.method} {request.target[:200]}")


async def _read(reader: asyncio.StreamReader, received: bytearray, quiet: float) -> None:
    """Until the end, or until nothing came for `quiet` seconds."""
    with contextlib.suppress(TimeoutError):
        while True:
            async with asyncio.timeout(quiet):
                chunk = await reader.read(65536)
            if not chunk:
                return
            received += chunk


def _statuses(received: bytearray) -> list[int]:
    return [int(status) for status in _STATUS.findall(bytes(received))]


def _memory(process: Process) -> int:
    """Resident memory in KiB."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])
