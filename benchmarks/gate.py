"""`make bench-gate`: a gate over many images before an upstream with latency, beside a loop of `crane manifest`.

Also: how soon the command line answers. Writes benchmarks/GATE.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web
from tests.support.content import digest_of
from tests.support.images import Image, image
from tests.support.tools import tool

RESULTS = Path(__file__).parent / "GATE.md"
LATENCY = 0.05
LAYERS = 3
ROUNDS = 5


class SlowRegistry:
    """`count` images of three layers, each answer `LATENCY` seconds late; in a thread of its own."""

    def __init__(self, count: int) -> None:
        self.images: list[Image] = [image(f"bench-{number}", LAYERS) for number in range(count)]
        self._blobs = {digest: blob for each in self.images for digest, blob in each.blobs.items()}
        self._loop = asyncio.new_event_loop()
        self.requests = 0
        self.host = ""

    def __enter__(self) -> SlowRegistry:
        started = threading.Event()
        threading.Thread(target=self._serve, args=(started,), daemon=True).start()
        started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def references(self) -> list[str]:
        """One for each image."""
        return [f"{self.host}/bench/app-{number}:1" for number in range(len(self.images))]

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)

        async def start() -> None:
            runner = web.ServerRunner(web.Server(self._answer))
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.host = f"127.0.0.1:{runner.addresses[0][1]}"
            started.set()

        self._loop.run_until_complete(start())
        self._loop.run_forever()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests += 1
        await asyncio.sleep(LATENCY)
        parts = request.path.split("/")
        if parts[-2] == "manifests":
            found = self.images[int(parts[-3].removeprefix("app-"))]
            headers = {"Docker-Content-Digest": found.digest, "Content-Type": found.media_type}
            return web.Response(body=found.manifest, headers=headers)
        if parts[-2] == "blobs" and parts[-1] in self._blobs:
            return web.Response(body=self._blobs[parts[-1]], headers={"Docker-Content-Digest": digest_of(b"")})
        return web.Response(body=b"{}")


def time_gate(registry: SlowRegistry, directory: Path, depth: str) -> dict[str, Any]:
    """Seconds and requests of one gate."""
    listed = directory / "images.txt"
    listed.write_text("\n".join(registry.references()))
    registry.requests, began = 0, time.monotonic()
    command = [sys.executable, "-m", "pullgate_cli", "gate", "-f", str(listed), "--local", "--depth", depth]
    command += ["--plain-http", registry.host, "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment(directory))
    seconds = time.monotonic() - began
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return {"seconds": seconds, "requests": registry.requests, "inside": json.loads(done.stdout)["seconds"]}


def time_crane(registry: SlowRegistry, count: int) -> float:
    """Seconds for `count` times `crane manifest`, one after the other."""
    began = time.monotonic()
    for reference in registry.references()[:count]:
        subprocess.run([tool("crane"), "manifest", reference], capture_output=True, check=True)
    return time.monotonic() - began


def time_first_line(*arguments: str) -> float:
    """Median seconds until a command has printed its first line."""
    found = []
    for _ in range(ROUNDS):
        began = time.monotonic()
        command = [sys.executable, "-m", "pullgate_cli", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=_environment(Path("/nonexistent"))) as process:
            assert process.stdout is not None
            process.stdout.readline()
            found.append(time.monotonic() - began)
            process.kill()
    return statistics.median(found)


def _environment(directory: Path) -> dict[str, str]:
    return {**os.environ, "DOCKER_CONFIG": str(directory), "PYTHONUNBUFFERED": "1"}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=500)
    count = parser.parse_args().images
    with tempfile.TemporaryDirectory(prefix="pullgate-bench-") as name, SlowRegistry(count) as registry:
        gates = {depth: time_gate(registry, Path(name), depth) for depth in ("manifest", "blobs", "download")}
        crane = time_crane(registry, count)
        described = ("registry", "test", "--type", "Generic", "--host", registry.host, "--plain-http")
        lines = {"pullgate --help": time_first_line("--help"), "pullgate registry test": time_first_line(*described)}
    rows = [(f"`crane manifest`, {count} times, one after the other", crane, "1.0")]
    rows += [
        (f"`pullgate gate --depth {d}` ({g['requests']} requests)", g["seconds"], f"{crane / g['seconds']:.0f}")
        for d, g in gates.items()
    ]
    table = "\n".join(f"| {what} | {seconds:.1f} s | {ratio} x |" for what, seconds, ratio in rows)
    first = "\n".join(f"| `{what}`: its first line | {seconds * 1000:.0f} ms | |" for what, seconds in lines.items())
    page = f"""\
# The gate

Written by `make bench-gate` on {datetime.now(UTC):%Y-%m-%d}: {count} images of {LAYERS} layers, each answer of the
upstream {LATENCY * 1000:.0f} ms late; both processes and the upstream share {os.cpu_count()} cores. `crane manifest`
fetches manifests only.

| | | as fast |
|---|---|---|
{table}
{first}
"""
    print(page)
    RESULTS.write_text(page)


if __name__ == "__main__":
    main()
