"""After a storm of requests of every kind, faults, and clients that are slow or gone, nobody holds anything."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp

from pullgate.licensing.marks import TEST_HEADER, TEST_KEY_NAME, Marker, decode_mark_key
from pullgate.providers.handoff import secret_data
from pullgate.store.port import Key
from pullgate_proxy.listen.admission import Admission
from tests.support.catalog import WORKER, catalog, seed
from tests.support.gate import ACCEPT, APP, Gate, basic, license_, registry, running
from tests.support.upstreams import ScriptedRegistry, faults

IMAGE = catalog()[WORKER, "1.0.0"]
LICENSES = ("free", "limited", "ruled")
REQUESTS = 400
INVENTED = "sha256:" + "0" * 64
BASE = f"/v2/proxy/{APP}/up/{WORKER}"
MANIFEST, BLOB = f"{BASE}/manifests/1.0.0", f"{BASE}/blobs/{IMAGE.config}"
ASKED: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("GET", MANIFEST, {}),
    ("GET", MANIFEST, {"Cache-Control": "no-cache"}),
    ("HEAD", MANIFEST, {}),
    ("GET", f"{BASE}/manifests/{INVENTED}", {}),
    ("GET", BLOB, {}),
    ("GET", BLOB, {}),
    ("GET", BLOB, {"Range": "bytes=2-5"}),
    ("GET", BLOB, {"Range": "bytes=2-5,8-9"}),
    ("GET", BLOB, {"Range": "bytes=999999-"}),
    ("HEAD", BLOB, {}),
    ("GET", f"{BASE}/blobs/{INVENTED}", {}),
    ("GET", f"{BASE}/tags/list", {}),
    ("GET", f"{BASE}/referrers/{IMAGE.digest}", {}),
    ("GET", "/v2/", {}),
    ("GET", "/token", {}),
    ("POST", "/token", {}),
    ("POST", f"{BASE}/blobs/uploads/", {}),
    ("GET", f"/v2/proxy/{APP}/none/{WORKER}/manifests/1", {}),
    ("GET", "/v2/%zz", {}),
)
FAULTS = (
    faults.hang_after(5),
    faults.hang(),
    faults.close_after(5),
    faults.reset(),
    faults.answer(500, b"{}"),
    faults.rate_limited("1"),
    faults.raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 30),
    faults.trickle(1, 0.01),
    faults.corrupt(),
)


@contextlib.asynccontextmanager
async def gate_of(path: Path) -> AsyncIterator[Gate]:
    """A gate whose upstream fails one request in three, each time in another way."""
    async with ScriptedRegistry() as upstream:
        await seed(upstream)
        limits = {"pullsPerHour": 4, "bytesPerDay": "100Ki", "concurrentBlobs": 3}
        documents = [
            registry("up", upstream.host, timeouts={"firstByte": "1s"}, cache={"tagTTL": "1s"}),
            license_("free"),
            license_("limited", limits=limits),
            license_("ruled", {"repositories": ["**"], "tags": {"semver": ">=1.0.0"}}),
        ]
        async with running(path / "resources", *documents, manifest_cache=1 << 20, **SETTINGS) as gate:
            failing, chance = itertools.cycle(FAULTS), random.Random(0)
            upstream.on(
                "GET|HEAD",
                "/v2/my-org/",
                lambda request, right: next(failing)(request, right) if chance.random() < 0.3 else right,
                times=10**6,
            )
            yield gate


SETTINGS = {"max_requests": 24, "idle_timeout": 1.0, "connect_timeout": 1.0}


async def storm(gate: Gate, port: int, mark: Callable[[str], str]) -> set[str]:
    """Returns the reasons of all answers."""
    reasons: set[str] = set()

    async def ask(session: aiohttp.ClientSession, number: int) -> None:
        method, path, headers = ASKED[number % len(ASKED)]
        name = LICENSES[number % len(LICENSES)]
        key = gate.key(name) if number % 23 else "wrong"
        headers = {**headers, "Accept": ACCEPT, "Authorization": basic("customer", key)}
        if number % 7 == 0:
            headers[TEST_HEADER] = mark(name)
        await asyncio.sleep(number % 40 / 20)
        patience = 0.05 if number % 5 == 0 else 20.0
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
            async with (
                asyncio.timeout(patience),
                session.request(
                    method, f"http://127.0.0.1:{port}{path}", headers=headers, allow_redirects=False
                ) as answer,
            ):
                reasons.add(answer.headers.get("X-Pullgate-Reason", ""))
                if number % 3:
                    await answer.read()

    async def drop(number: int) -> None:
        """A client that goes while its request is half sent, or as soon as it is."""
        _, path, _ = ASKED[number % len(ASKED)]
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic('c', gate.key(LICENSES[number % 3]))}\r\n\r\n"
        with contextlib.suppress(ConnectionError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.encode()[: None if number % 2 else 40])
            await asyncio.sleep(number % 4 / 100)
            writer.transport.abort()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(ask(session, number) for number in range(REQUESTS)), *map(drop, range(REQUESTS // 4)))
    return reasons


async def marks(gate: Gate) -> Callable[[str], str]:
    """License -> a mark that its app's tests have."""
    document = await gate.store.get(Key("Secret", APP, TEST_KEY_NAME))
    assert document is not None
    key = decode_mark_key(secret_data(document))
    return lambda name: Marker(key, APP, name).make(time.time())


def holds_nothing(admission: Admission) -> bool:
    seats = (admission.running, admission.waiting, admission.requests.used, admission.requests.holders)
    bytes_ = (admission.bodies.used, admission.bodies.holders, admission._forms.used)
    return not any((*seats, *bytes_))


async def test_after_a_storm_one_process_holds_nothing(tmp_path: Path) -> None:
    async with gate_of(tmp_path) as gate:
        proxy = await gate.start_proxy(blob_cache=tmp_path / "blobs")
        proxy.admission.wait_seconds = 0.2
        async with asyncio.timeout(30):  # in the storm a seat is refused before the limit is asked
            while (await gate.get(MANIFEST, gate.key("limited"), proxy=proxy)).fault != "LimitReached":
                await asyncio.sleep(0.01)
        reasons = await storm(gate, proxy.port, await marks(gate))
        assert reasons >= {"", "LimitReached", "ShareReached", "NotEntitled", "KeyMalformed"}, reasons
        await gate.until(lambda: holds_nothing(proxy.admission))
        assert not proxy.replica.gatekeeper._running
        assert not proxy.replica.gate._inside
        blobs = proxy.caches.blobs
        assert blobs is not None
        await gate.until(lambda: len(blobs.fetches) == 0)
        assert (blobs.fetches._shares.used, blobs.fetches._shares.holders) == (0, 0)
        await gate.until(lambda: not proxy._forwarder._prover._locks)
        assert proxy._forwarder._lists.used == 0
