"""`make bench`: Pullgate beside nginx and distribution's mirror, in one run; ratios, because machines differ.

The measured server runs on core 0; the upstream (a real docker-registry) and the load share core 1.
Each figure is the median of the rounds; the contenders take turns in each round. Writes benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.contenders import MANY, Contender, Stage, staged
from benchmarks.measures import blob, fan_out, manifests, ready_memory, revocations, spread
from benchmarks.report import Results, render
from benchmarks.servers import free_port

RESULTS = Path(__file__).parent / "RESULTS.md"
CLIENTS = 200
CACHED = 8
"""Times that a blob is pulled from a cache: once takes too short to be measured."""
REPLICAS = 3


def measure(stage: Stage, rounds: int, seconds: int) -> Results:
    """All of it."""
    results = Results()
    cache = stage.directory / "cache"
    pullgate = stage.pullgate("pullgate", blob_cache=str(cache))
    bare = stage.pullgate("pullgate, no disk")
    many = stage.pullgate("pullgate, 100,000", licenses=MANY)
    proxy, cached, static = stage.nginx()
    mirrors = {"distribution mirror": stage.mirror(login=False), "distribution mirror, login": stage.mirror(login=True)}
    results.memory = {name: c.server.resident() / 2**20 for name, c in (("10 licenses", bare), ("100,000", many))}
    askers = {"pullgate": pullgate, "pullgate, 100,000": many, "nginx proxy_cache": cached, "nginx proxy": proxy}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}")
        for name, contender in {**askers, **mirrors}.items():
            results.add("manifest by digest", name, manifests(contender, stage.seeded.manifest, seconds))
        for name, contender in {**askers, **mirrors}.items():
            results.add("manifest by tag", name, manifests(contender, "1.0.0", seconds))
        _blobs(stage, results, number, {"pullgate": pullgate, "pullgate, no disk": bare, "nginx proxy": proxy}, static)
    results.revocations = revocations(many, 150)
    ready_memory(stage.seeded.layer.size, stage.directory)
    results.fan_out = fan_out(pullgate, stage.seeded.layer, CLIENTS)
    return results


def _blobs(stage: Stage, results: Results, number: int, contenders: dict[str, Contender], static: str) -> None:
    """One that nobody asked for yet, then the same from the disk."""
    large = stage.seeded.large[number]
    for name, contender in contenders.items():
        url = contender.url(f"blobs/{large.digest}")
        ready_memory(large.size, stage.directory)
        results.add("blob, uncached", name, blob(contender.server, url, contender.authorization, large.size))
    pullgate, nginx = contenders["pullgate"], contenders["nginx proxy"]
    url = pullgate.url(f"blobs/{large.digest}")
    # The first hit by the same client is hashed: it may have found the blob damaged.
    blob(pullgate.server, url, pullgate.authorization, large.size)
    rate = blob(pullgate.server, url, pullgate.authorization, large.size, CACHED)
    results.add("blob, from the cache", "pullgate", rate)
    rate = blob(nginx.server, f"{static}/{large.file.name}", "", large.size, CACHED)
    results.add("blob, from the cache", "nginx static", rate)


def measure_replicas(stage: Stage, results: Results) -> None:
    """Three of them, each for itself and then one for all."""
    for number, name in enumerate(("each for itself", "one for all (--peer)")):
        ports = [free_port() for _ in range(REPLICAS)]
        replicas = []
        for place, port in enumerate(ports):
            settings: dict[str, Any] = {"blob_cache": str(stage.directory / f"replica-{number}-{place}")}
            if number:
                settings |= {
                    "peer_fetch": [("127.0.0.1", each) for each in ports],
                    "peer_listen": ("127.0.0.1", port),
                }
            replicas.append(stage.pullgate(f"replica {place}", **settings))
        time.sleep(1)  # they look for each other
        ready_memory(REPLICAS * stage.seeded.large[0].size, stage.directory)
        results.spread[name] = spread(replicas, stage.seeded.large[0])
        print(f"  {REPLICAS} replicas, {name}: {results.spread[name]}", flush=True)
        for replica in replicas:
            replica.server.process.terminate()


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--no-write", action="store_true", help="print only")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="pullgate-bench-") as name,
        staged(Path(name), arguments.rounds) as stage,
    ):
        results = measure(stage, arguments.rounds, arguments.seconds)
        measure_replicas(stage, results)
    page = render(results, arguments.rounds, arguments.seconds)
    print("\n" + page)
    if not arguments.no_write:
        RESULTS.write_text(page)


if __name__ == "__main__":
    main()
