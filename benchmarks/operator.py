"""`make bench-operator`: many Licenses on a real API server, cold to Valid, beside a bare loop of the same writes.

Also: writes at rest, the start of an operator that finds everything done, how soon a suspension is refused by two
proxies, and memory. Writes benchmarks/OPERATOR.md.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from tests.support.cluster.control_plane import ControlPlane, control_plane
from tests.support.cluster.process import Program
from tests.support.ports import free_port

from pullgate.store.cluster.api import Api

RESULTS = Path(__file__).parent / "OPERATOR.md"
ROOT = Path(__file__).parents[1]
APP, BARE = "my-app", "bare"
LICENSES = f"/apis/pullgate.dev/v1alpha1/namespaces/{APP}/licenses"
CREATE_AT_ONCE = 32
WORKERS = 4
"""Workers of the operator, and of the bare loop."""
PATIENCE = 1800.0
SUSPENSIONS = 200


class Scraped(dict[str, float]):
    """A page of metrics: series -> value."""

    def total(self, name: str) -> float:
        """The sum of all series of a metric."""
        return sum(value for series, value in self.items() if series.partition("{")[0] == name)

    @property
    def writes(self) -> float:
        """Writes of the operator, those of the Lease left out."""
        lease = self.get('pullgate_operator_api_writes_total{kind="leases"}', 0.0)
        return self.total("pullgate_operator_api_writes_total") - lease


def scrape(port: int) -> Scraped:
    """The metrics of an admin port; empty if nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return Scraped()
    return Scraped((line.rpartition(" ")[0], float(line.rpartition(" ")[2])) for line in lines if line[:1] != "#")


def memory(program: Program) -> tuple[int, int]:
    """Resident MiB now, and at most."""
    text = Path(f"/proc/{program.pid}/status").read_text()
    found = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in text.splitlines() if line.startswith("Vm")}
    return found["VmRSS"], found["VmHWM"]


def start(directory: Path, plane: ControlPlane, command: str, *options: str) -> tuple[Program, int]:
    """A command of pullgate, and its admin port."""
    port = free_port()
    words: list[str | Path] = [sys.executable, "-m", "pullgate_cli", command, "--kubeconfig", plane.kubeconfig]
    words += ["--external-url", "http://images.test", "--admin", f"127.0.0.1:{port}", *options]
    program = Program(words, directory / f"{command}-{port}.log")
    program.start()
    return program, port


def wait(check: Callable[[], bool]) -> None:
    """Until it holds."""
    end = time.monotonic() + PATIENCE
    while not check():
        if time.monotonic() > end:
            raise TimeoutError("it did not come true")
        time.sleep(0.25)


async def spread(count: int, at_once: int, one: Callable[[int], Awaitable[None]]) -> float:
    """Seconds for `count` calls."""
    slots = asyncio.Semaphore(at_once)

    async def bounded(number: int) -> None:
        async with slots:
            await one(number)

    began = time.monotonic()
    await asyncio.gather(*(bounded(number) for number in range(count)))
    return time.monotonic() - began


def build_license(name: str) -> dict[str, Any]:
    """A License for everything of my-org."""
    spec = {"customer": {"name": f"Customer {name}"}, "entitlements": [{"repositories": ["my-org/**"]}]}
    metadata = {"name": name, "namespace": APP}
    return {"apiVersion": "pullgate.dev/v1alpha1", "kind": "License", "metadata": metadata, "spec": spec}


async def create_new(plane: ControlPlane) -> float:
    """Seconds until a new License has its Secrets."""
    async with await Api.load(plane.kubeconfig) as api:
        await api.create(LICENSES, build_license("new"))
        began = time.monotonic()
        while not ((await api.get(f"{LICENSES}/new") or {}).get("status") or {}).get("secrets"):
            await asyncio.sleep(0.02)
        return time.monotonic() - began


async def create_licenses(plane: ControlPlane, count: int) -> float:
    """Seconds."""
    async with await Api.load(plane.kubeconfig) as api:

        async def one(number: int) -> None:
            await api.create(LICENSES, build_license(f"l{number}"))

        return await spread(count, CREATE_AT_ONCE, one)


async def bare_loop(plane: ControlPlane, count: int) -> float:
    """Seconds for the same writes as the operator's: two Secrets, a status, an Event for each License."""
    async with await Api.load(plane.kubeconfig) as api:
        samples = [await api.get(f"/api/v1/namespaces/{APP}/secrets/l0-{kind}") or {} for kind in ("license", "pull")]
        status = (await api.get(f"{LICENSES}/l0") or {})["status"]

        async def one(number: int) -> None:
            for sample in samples:
                name = sample["metadata"]["name"].replace("l0", f"l{number}")
                metadata = {"name": name, "namespace": BARE, "labels": sample["metadata"]["labels"]}
                secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": sample["type"]}
                path = f"/api/v1/namespaces/{BARE}/secrets/{name}"
                applied = {"fieldManager": "bare", "force": "true"}
                await api.patch(path, {**secret, "data": sample["data"]}, "application/apply-patch+yaml", applied)
            patch = [{"op": "add", "path": "/status", "value": {**status, "observedGeneration": 99}}]
            await api.patch(f"{LICENSES}/l{number}/status", patch, "application/json-patch+json")
            about = {"kind": "License", "name": f"l{number}", "namespace": BARE}
            words = {"reason": "KeyIssued", "message": "key k00000 is issued", "type": "Normal"}
            event = {"metadata": {"generateName": "x.", "namespace": BARE}, "involvedObject": about, **words}
            await api.create(f"/api/v1/namespaces/{BARE}/events", event)

        return await spread(count, WORKERS, one)


async def propagate(plane: ControlPlane, ports: list[int]) -> list[float]:
    """Seconds from the API server's answer to a (un)suspension until each proxy acts on it."""
    secret = plane.get("secret", "l0-pull", APP)
    auths = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))["auths"]
    headers = {"Authorization": aiohttp.encode_basic_auth("x", next(iter(auths.values()))["password"])}
    found: list[float] = []
    async with await Api.load(plane.kubeconfig) as api, aiohttp.ClientSession() as session:

        async def seen(port: int, suspended: bool, since: float) -> float:
            while True:
                async with session.get(f"http://127.0.0.1:{port}/v2/", headers=headers) as answer:
                    if (answer.status != 200) == suspended:
                        return time.monotonic() - since
                await asyncio.sleep(0.002)

        for number in range(SUSPENSIONS):
            suspended = number % 2 == 0
            patch: dict[str, Any] = {"spec": {"suspended": {} if suspended else None}}
            await api.patch(f"{LICENSES}/l0", patch, "application/merge-patch+json")
            since = time.monotonic()
            found += await asyncio.gather(*(seen(port, suspended, since) for port in ports))
    return sorted(found)


def measure(directory: Path, plane: ControlPlane, count: int, rest: float) -> dict[str, Any]:
    """All figures."""
    found: dict[str, Any] = {"licenses": count, "create": asyncio.run(create_licenses(plane, count))}
    print(f"{count} Licenses created in {found['create']:.1f} s", flush=True)
    began = time.monotonic()
    operator, port = start(directory, plane, "operator")
    valid = 'pullgate_licenses{state="Valid"}'
    wait(lambda: scrape(port).get(valid, 0) >= count)
    found["cold"] = time.monotonic() - began
    page = scrape(port)
    found["writes"] = {
        series.partition('"')[2].rstrip('"}'): int(value)
        for series, value in page.items()
        if series.startswith("pullgate_operator_api_writes_total")
    }
    found["memory"] = memory(operator)
    print(f"cold to Valid {found['cold']:.1f} s, {page.writes:.0f} writes, RSS {found['memory']}", flush=True)
    time.sleep(15)
    before = scrape(port).writes
    time.sleep(rest)
    found |= {"rest": rest, "rest_writes": scrape(port).writes - before, "memory_rest": memory(operator)}
    print(f"at rest for {rest:.0f} s: {found['rest_writes']:.0f} writes", flush=True)
    operator.stop()
    began = time.monotonic()
    operator, port = start(directory, plane, "operator")
    done = 'pullgate_operator_reconciles_total{kind="License",result="ok"}'
    wait(lambda: scrape(port).get(done, 0) > 0)
    found["new"], waiting = asyncio.run(create_new(plane)), scrape(port).get("pullgate_operator_queue", 0)
    print(f"a new License meanwhile: {found['new']:.2f} s, {waiting:.0f} others waited", flush=True)
    wait(lambda: scrape(port).get(done, 0) >= count)
    found |= {"again": time.monotonic() - began, "again_writes": scrape(port).writes, "again_memory": memory(operator)}
    print(f"started again: {found['again']:.1f} s, {found['again_writes']:.0f} writes", flush=True)
    listens = [free_port(), free_port()]
    proxies = [start(directory, plane, "proxy", "--listen", f"127.0.0.1:{listen}") for listen in listens]
    for _, admin in proxies:
        wait(lambda admin=admin: scrape(admin).get("pullgate_synced", 0) == 1)  # type: ignore[misc]
    found["proxy_memory"] = memory(proxies[0][0])
    found["propagation"] = asyncio.run(propagate(plane, listens))
    for program in (operator, *(program for program, _ in proxies)):
        program.stop()
    found["bare"] = asyncio.run(bare_loop(plane, count))
    print(f"bare loop {found['bare']:.1f} s", flush=True)
    return found


def render(found: dict[str, Any]) -> str:
    """The page."""
    times, count = found["propagation"], found["licenses"]
    writes = ", ".join(f"{name} {number:,}" for name, number in sorted(found["writes"].items()))
    middle, late, last = times[len(times) // 2], times[int(len(times) * 0.99)], times[-1]
    rows = [
        (f"{count:,} Licenses, cold to Valid", f"{found['cold']:.1f} s ({count / found['cold']:.0f} a second)"),
        ("writes of that", writes),
        (f"a bare loop of the same writes, {WORKERS} at once", f"{found['bare']:.1f} s"),
        ("ratio", f"{found['cold'] / found['bare']:.2f}"),
        ("memory of the operator after it, at most", f"{found['memory'][0]} MiB, {found['memory'][1]} MiB"),
        (f"writes in {found['rest']:.0f} s of rest, the Lease left out", f"{found['rest_writes']:.0f}"),
        ("an operator that finds all done: until all was looked at", f"{found['again']:.1f} s"),
        ("a License that is created meanwhile, until it has its Secrets", f"{found['new']:.2f} s"),
        (
            "its writes, those of that License included, and its memory",
            f"{found['again_writes']:.0f}, {found['again_memory'][0]} MiB",
        ),
        ("memory of a proxy", f"{found['proxy_memory'][0]} MiB, {found['proxy_memory'][1]} MiB at most"),
        (
            f"{len(times)} (un)suspensions seen by two proxies: p50, p99, max",
            f"{middle * 1e3:.0f} ms, {late * 1e3:.0f} ms, {last * 1e3:.0f} ms",
        ),
    ]
    table = "\n".join(f"| {name} | {figure} |" for name, figure in rows)
    return f"""\
# The operator at scale

Written by `make bench-operator` on {datetime.now(UTC):%Y-%m-%d}: etcd, the API server and its controllers, the
operator, the proxies and the loop share {os.cpu_count()} cores, so the figures are for comparing with each other.

| | |
|---|---|
{table}

The bare loop sends the same Secrets, statuses and Events as fast as the API server takes them, and decides nothing; it
runs last, when the API server holds everything that the operator wrote. The operator spends more than that: it starts,
lists, reads what the watch tells of its own writes, makes keys and signs license files. Propagation counts from the API
server's answer to the write.
"""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--licenses", type=int, default=10_000)
    parser.add_argument("--rest-seconds", type=float, default=600.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pullgate-bench-") as name, control_plane(Path(name)) as plane:
        plane.kubectl("apply", "-k", ROOT / "deploy")
        plane.kubectl("delete", "deployment", "--all", "-n", "pullgate-system")
        for namespace in (APP, BARE):
            plane.kubectl("create", "namespace", namespace)
        page = render(measure(Path(name), plane, options.licenses, options.rest_seconds))
    print(page)
    RESULTS.write_text(page)


if __name__ == "__main__":
    main()
