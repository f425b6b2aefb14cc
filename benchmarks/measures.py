"""The measures, one contender at a time. The load runs on the other core; servers that are not measured are idle."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.contenders import Contender, basic
from benchmarks.seed import Blob
from benchmarks.servers import OTHER_CORE, Server, find

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast, and what it cost the server."""

    rate: float
    """GETs or MB a second."""
    cost: float
    """Processor time: microseconds a GET, or seconds a GiB."""


def manifests(contender: Contender, reference: str, seconds: int) -> Rate:
    """GET of a manifest that was asked for before, over 32 connections; every answer is 200."""
    script = Path(tempfile.gettempdir()) / f"bench-{os.getpid()}.lua"
    script.write_text(
        'wrk.headers["Accept"] = "application/vnd.oci.image.manifest.v1+json"\n'
        + (f'wrk.headers["Authorization"] = "{contender.authorization}"\n' if contender.authorization else "")
    )
    url = contender.url(f"manifests/{reference}")
    command = ["taskset", "-c", OTHER_CORE, find("wrk"), "-t1", "-c32", "-s", str(script), url]
    subprocess.run([*command, "-d1s"], capture_output=True, check=True)
    before = contender.server.cpu_seconds()
    out = subprocess.run([*command, f"-d{seconds}s"], capture_output=True, text=True, check=True).stdout
    spent = contender.server.cpu_seconds() - before
    if "Non-2xx" in out:
        raise SystemExit(f"{contender.server.name} refused: {out}")
    rate = float(next(line.split()[1] for line in out.splitlines() if line.startswith("Requests/sec")))
    return Rate(rate, spent / (rate * seconds) * 1e6)


def blob(server: Server, url: str, authorization: str, size: int, times: int = 1) -> Rate:
    """The whole body, one time after the other, thrown away by its client."""
    before, seconds = server.cpu_seconds(), 0.0
    for _ in range(times):
        found = drained(url, authorization, 1)
        if found["bytes"] != size:
            raise SystemExit(f"{url}: {found['bytes']} bytes instead of {size}")
        seconds += found["seconds"]
    spent = server.cpu_seconds() - before
    return Rate(size * times / seconds / 1e6, spent / (size * times) * GIB)


def ready_memory(size: int, directory: Path) -> None:
    """Have free pages that were in use a moment ago.

    A virtual machine's memory may come from its host only when it is first touched, which takes seconds for a GiB: that
    is no server's doing, and slows only a server that keeps a blob in the page cache.
    """
    file, chunk = directory / "memory", bytes(8 * 2**20)
    with file.open("wb") as out:
        for _ in range(0, size, len(chunk)):
            out.write(chunk)
    file.unlink()


def drained(url: str, authorization: str, clients: int) -> dict[str, float]:
    """See benchmarks.drain: bytes, seconds, and the median and longest time to a first byte."""
    command = ["taskset", "-c", OTHER_CORE, sys.executable, "-m", "benchmarks.drain", url, authorization, str(clients)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads(out)
    firsts = found["first_bytes"]
    return {
        "bytes": found["bytes"],
        "seconds": found["seconds"],
        "median": firsts[len(firsts) // 2],
        "last": firsts[-1],
    }


@dataclass(frozen=True, slots=True)
class FanOut:
    """Many clients, one blob that nobody had asked for before."""

    upstream_share: float
    """Bytes from the upstream, divided by the blob's size."""
    first_byte: float
    """Seconds to the first byte of the client that waited longest."""
    rate: float
    """MB a second to all clients."""
    peak: float
    """Resident MiB of the server at its highest."""


def fan_out(contender: Contender, layer: Blob, clients: int) -> FanOut:
    """`clients` at once want `layer`."""
    before = fetched(contender)
    url = contender.url(f"blobs/{layer.digest}")
    found = drained(url, contender.authorization, clients)
    return FanOut(
        (fetched(contender) - before) / layer.size,
        found["last"],
        found["bytes"] / found["seconds"] / 1e6,
        contender.server.resident_peak() / 2**20,
    )


def fetched(contender: Contender) -> float:
    """Bytes of blobs that came from the upstream to the disk, as the proxy counts them."""
    with urllib.request.urlopen(f"{contender.server.admin_url}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    wanted = [line for line in lines if line.startswith("pullgate_blob_fetched_bytes_total{") and "upstream" in line]
    return sum(float(line.rpartition(" ")[2]) for line in wanted)


@dataclass(frozen=True, slots=True)
class Spread:
    """One blob pulled from several replicas at once."""

    upstream_share: float
    """Bytes that came from the upstream to all of them, by the blob's size."""
    seconds: float
    """Until the last client had it."""


def spread(replicas: list[Contender], large: Blob) -> Spread:
    """A client at each replica wants `large`, which nobody asked for yet."""
    before = sum(map(fetched, replicas))
    began = time.monotonic()
    clients = [
        subprocess.Popen(
            [
                *("taskset", "-c", OTHER_CORE, sys.executable, "-m", "benchmarks.drain"),
                *(replica.url(f"blobs/{large.digest}"), replica.authorization, "1"),
            ],
            stdout=subprocess.DEVNULL,
        )
        for replica in replicas
    ]
    for client in clients:
        if client.wait():
            raise SystemExit("a pull from a replica failed")
    seconds = time.monotonic() - began
    return Spread((sum(map(fetched, replicas)) - before) / large.size, seconds)


def revocations(contender: Contender, count: int) -> list[float]:
    """Seconds from the change of a License in the store until a pull with its key is refused, sorted."""
    parts = urlsplit(contender.server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    taken = []
    for number in range(1, count + 1):
        login = {"Authorization": basic("customer", contender.keys[number])}
        if _status(connection, login) != 200:
            raise SystemExit("a license that should be valid is not")
        began = time.monotonic()
        urllib.request.urlopen(f"{contender.control}/{number}", timeout=10).close()
        while _status(connection, login) != 403:
            time.sleep(0.0005)
        taken.append(time.monotonic() - began)
    return sorted(taken)


def _status(connection: http.client.HTTPConnection, headers: dict[str, str]) -> int:
    connection.request("GET", "/v2/", headers=headers)
    response = connection.getresponse()
    response.read()
    return response.status
