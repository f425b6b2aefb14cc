"""`make bench-hostile`: the latency of one app's pulls, quiet and while two hostile apps attack. Writes HOSTILE.md.

The stage is that of tests/cluster/test_hostile_apps.py: a real API server, the operator and one proxy as processes. The
proxy has core 0 alone; all others share core 1, the hostile apps at the lowest priority (nice 19).
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.support.background import in_background
from tests.support.cluster.control_plane import control_plane
from tests.support.hostile.good import GoodClient
from tests.support.hostile.process import ALL, WRITING
from tests.support.hostile.stage import IMAGES, LAYER_SIZE, LAYERS, Stage, stage_on

RESULTS = Path(__file__).parent / "HOSTILE.md"
CRDS = Path(__file__).parents[1] / "deploy" / "crds"
WARM_SECONDS = 8.0
"""Before it is measured: connections and requests of an attack begin in 6 s, and share out what there is."""
QUIET = "quiet"
TOGETHER = "all at once"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of the pulls under one attack."""

    seconds: list[float]
    """Seconds of each pull, sorted."""
    failures: list[str]
    processor: float
    """Part of its core that the proxy used."""

    def at(self, part: float) -> float:
        """A percentile, in ms; infinite if no pull ended."""
        if not self.seconds:
            return math.inf
        return self.seconds[min(int(len(self.seconds) * part), len(self.seconds) - 1)] * 1000


def pin(pid: int, cores: set[int]) -> None:
    """All threads of a process."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)


def processor_seconds(pid: int) -> float:
    """Used by a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def measure(stage: Stage, client: GoodClient, seconds: float) -> Figures:
    """The pulls that end from now on, for so many seconds."""
    pid = stage.world.proxy_programs[0].pid
    first, before, began = len(client.pulls), processor_seconds(pid), time.monotonic()
    time.sleep(seconds)
    pulls = client.pulls[first:]
    used = (processor_seconds(pid) - before) / (time.monotonic() - began)
    return Figures(sorted(pull.seconds for pull in pulls), [pull.failure for pull in pulls if pull.failure], used)


def play(stage: Stage, rounds: int, seconds: float) -> Iterator[tuple[str, Figures]]:
    """Quiet, then each attack alone, and all; what the owners write comes last, for it stays."""
    tags = list(stage.images)
    with in_background(stage.client(tags)) as client:
        time.sleep(WARM_SECONDS)
        for _ in range(rounds):
            yield QUIET, measure(stage, client, seconds)
            for attack in ALL:
                if attack != WRITING:
                    yield attack, under(stage, client, [attack], seconds)
        for attacks in ([WRITING], list(ALL)):
            for _ in range(rounds):
                yield attacks[0] if len(attacks) == 1 else TOGETHER, under(stage, client, attacks, seconds)


def under(stage: Stage, client: GoodClient, attacks: Sequence[str], seconds: float) -> Figures:
    """The figures while `attacks` are played."""
    with stage.attack(attacks):
        time.sleep(WARM_SECONDS)
        found = measure(stage, client, seconds)
    time.sleep(3.0)
    return found


def render(found: dict[str, list[Figures]], loads: Sequence[str]) -> str:
    """The page."""

    def middle(name: str, part: float) -> float:
        return statistics.median(each.at(part) for each in found[name])

    lines = []
    for name, rounds in found.items():
        ratios = [middle(name, part) / middle(QUIET, part) for part in (0.5, 0.99)]
        each = ", ".join(f"{figures.at(0.99):.0f}" for figures in rounds)
        pulls, failed = sum(len(one.seconds) for one in rounds), sum(len(one.failures) for one in rounds)
        used = statistics.median(one.processor for one in rounds)
        lines.append(
            f"| {name} | {middle(name, 0.5):.0f} ms | {middle(name, 0.99):.0f} ms ({each}) | "
            f"{ratios[0]:.1f} | {ratios[1]:.1f} | {pulls:,} | {failed} | {used:.0%} |"
        )
    table = "\n".join(lines)
    machine = f"{os.cpu_count()} cores, Python {sys.version.split()[0]}"
    return f"""\
# Pulls of one app while two others are hostile

Written by `make bench-hostile` on {datetime.now(UTC):%Y-%m-%d}, {machine};
load of the machine before it and after it {" and ".join(loads)}. One proxy with a GiB of memory and a disk cache has
core 0 alone. The API server, the operator, the upstreams, the client that is measured and the hostile apps share
core 1, the hostile apps with the lowest priority (nice 19).

A pull is a token, a HEAD of the tag, a GET of the manifest, of its config and of its {LAYERS} layers of
{LAYER_SIZE // 1000} kB, over a connection of its own, with all digests verified; {IMAGES} images, from the cache, by
path, by domain and as a mirror; four at a time, with 50 ms between two. The p99 of each round is given, too.

| attack | p50 | p99 (each round) | ratio of p50 | ratio of p99 | pulls | failed | core 0 |
|---|---|---|---|---|---|---|---|
{table}

The attacks are those of `tests/support/hostile`, by both apps together. Each is bounded in how often it asks, since a
request from anybody costs the proxy its work; so the figures say what an attack costs beyond its own requests. The
client shares its core with the attackers: what they take from it is in these figures, and so is what other programs
of the machine take. [README.md](README.md#limits-of-each-figure) says what the figures show, and what they cannot.
"""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--no-write", action="store_true")
    given = parser.parse_args()
    loads = [f"{os.getloadavg()[0]:.1f}"]
    os.sched_setaffinity(0, {1})
    found: dict[str, list[Figures]] = {}
    with tempfile.TemporaryDirectory(prefix="pullgate-bench-") as name, control_plane(Path(name)) as plane:
        plane.kubectl("apply", "-k", CRDS)
        plane.kubectl("wait", "--for=condition=Established", "crd", "-l", "app.kubernetes.io/part-of=pullgate")
        with stage_on(plane, Path(name)) as stage:
            pin(stage.world.proxy_programs[0].pid, {0})
            for what, figures in play(stage, given.rounds, given.seconds):
                found.setdefault(what, []).append(figures)
                words = f"p50 {figures.at(0.5):.0f} ms, p99 {figures.at(0.99):.0f} ms, {len(figures.seconds)} pulls"
                print(f"{what}: {words}, core {figures.processor:.0%}, failed {figures.failures[:3]}", flush=True)
    page = render(found, [*loads, f"{os.getloadavg()[0]:.1f}"])
    print(page)
    if not given.no_write:
        RESULTS.write_text(page)


if __name__ == "__main__":
    main()
