"""Figures, and the page that is made of them."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from benchmarks.measures import FanOut, Rate, Spread

BASES = {
    "manifest by digest": "nginx proxy_cache",
    "manifest by tag": "nginx proxy_cache",
    "blob, uncached": "nginx proxy",
    "blob, from the cache": "nginx static",
    "manifest by digest, both cores": "1 worker",
}
"""Whom each measure is compared with."""


@dataclass(slots=True)
class Results:
    """name of a measure -> contender -> its rounds' figures."""

    figures: dict[str, dict[str, list[Rate]]] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    """Resident MiB at rest."""
    revocations: list[float] = field(default_factory=list)
    fan_out: FanOut | None = None
    spread: dict[str, Spread] = field(default_factory=dict)
    """Mode (replicas fetch from each other, or not) -> result of one blob pulled from all of them at once."""

    def add(self, measure: str, contender: str, rate: Rate) -> None:
        """One more round's figure."""
        self.figures.setdefault(measure, {}).setdefault(contender, []).append(rate)
        print(f"  {measure:32} {contender:28} {rate.rate:12,.0f}/s  {_cost(measure, rate.cost)}", flush=True)

    def rate(self, measure: str, contender: str) -> float:
        """The middle one."""
        return statistics.median(each.rate for each in self.figures[measure][contender])

    def cost(self, measure: str, contender: str) -> float:
        """The middle one."""
        return statistics.median(each.cost for each in self.figures[measure][contender])

    def ratio(self, measure: str, contender: str, base: str) -> float:
        """The ratio of the contenders' rates."""
        return self.rate(measure, contender) / self.rate(measure, base)


def _cost(measure: str, cost: float) -> str:
    return f"{cost:,.0f} µs" if measure.startswith("manifest") else f"{cost:.2f} s/GiB"


def render(results: Results, rounds: int, seconds: int) -> str:
    """The Markdown page."""
    lines = [
        "# Benchmarks",
        "",
        f"Written by `make bench` on {datetime.now(UTC).date()}: {rounds} rounds, {seconds} s a rate, medians. Python",
        f"{platform.python_version()}, {os.cpu_count()} cores: the measured server on one, upstream and load on the",
        "other. The upstream is a real docker-registry without a login. Clients throw blobs away in the kernel.",
        "*cost* is the server's processor time for a GET, or for a GiB.",
        "",
        "| measure | contender | GET/s or MB/s | cost | x | of |",
        "|---|---|---:|---:|---:|---|",
    ]
    for measure, by_contender in results.figures.items():
        base = BASES[measure]
        for contender in by_contender:
            rate, cost = results.rate(measure, contender), _cost(measure, results.cost(measure, contender))
            ratio = results.ratio(measure, contender, base)
            lines.append(f"| {measure} | {contender} | {rate:,.0f} | {cost} | {ratio:.2f} | {base} |")
    lines += ["", "| resident memory at rest | MiB |", "|---|---:|"]
    lines += [f"| {name} | {mebibytes:,.0f} |" for name, mebibytes in results.memory.items()]
    lines += ["", "| three replicas, one 512 MiB blob | upstream bytes | until all received it |", "|---|---:|---:|"]
    lines += [f"| {name} | {s.upstream_share:.2f} x | {s.seconds:.1f} s |" for name, s in results.spread.items()]
    lines += ["", "| aim | measured | met |", "|---|---|---|", *_aims(results), ""]
    return "\n".join(lines)


def _aims(results: Results) -> Iterator[str]:
    for aim, measure, contender, base, least in (
        ("manifest, warm: 0.25 x nginx proxy_cache", "manifest by digest", "pullgate", "nginx proxy_cache", 0.25),
        ("manifest, warm: 50 x distribution's mirror", "manifest by digest", "pullgate", "distribution mirror", 50),
        (
            "the same, where the mirror checks a login, too",
            "manifest by digest",
            "pullgate",
            "distribution mirror, login",
            50,
        ),
        ("blob uncached: 0.95 x nginx proxy", "blob, uncached", "pullgate", "nginx proxy", 0.95),
        ("blob from the cache: 0.95 x nginx static", "blob, from the cache", "pullgate", "nginx static", 0.95),
        (
            "100,000 licenses as fast as 10 (0.93, within noise)",
            "manifest by digest",
            "pullgate, 100,000",
            "pullgate",
            0.93,
        ),
    ):
        if measure in results.figures:
            value = results.ratio(measure, contender, base)
            yield f"| {aim} | {value:.2f} | {_met(value >= least)} |"
    memory = results.memory["100,000"]
    yield f"| 100,000 licenses: RSS under 300 MiB | {memory:.0f} MiB | {_met(memory < 300)} |"
    p99 = results.revocations[int(len(results.revocations) * 0.99)]
    yield f"| revocation, p99, under 1 s | {p99 * 1000:.1f} ms | {_met(p99 < 1)} |"
    found = results.fan_out
    if found is not None:
        share, first = found.upstream_share, found.first_byte
        yield f"| 200 clients, one new 1 GiB layer: upstream bytes 1.00 x | {share:.2f} x | {_met(share < 1.005)} |"
        yield f"| … RSS under 200 MiB | {found.peak:.0f} MiB | {_met(found.peak < 200)} |"
        yield f"| … first byte of the last client under 100 ms | {first * 1000:.0f} ms | {_met(first < 0.1)} |"
        yield f"| … MB/s to all of them | {found.rate:,.0f} | |"


def _met(holds: bool) -> str:
    return "yes" if holds else "no"
