"""`make bench`: Pullgate beside nginx and distribution's mirror, in one run; ratios, because machines differ.

The measured server runs on core 0; the upstream (a real docker-registry) and the load share core 1.
Each figure is the median of the rounds; the contenders take turns in each round. Writes benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.seed import Seeded, seed
from benchmarks.servers import (
    MEASURED_CORE,
    OTHER_CORE,
    Server,
    find,
    free_port,
    nginx_config,
    python,
    registry_config,
    start,
)
from pullgate.licensing.keys import new_key

RESULTS = Path(__file__).parent / "RESULTS.md"
MANY = 100_000
FEW = 10


@dataclass(slots=True)
class Results:
    """name of a measure -> contender -> its rounds' figures."""

    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, measure: str, contender: str, figure: float) -> None:
        """One more round's figure."""
        self.figures.setdefault(measure, {}).setdefault(contender, []).append(figure)
        print(f"  {measure:42} {contender:22} {figure:12,.1f}", flush=True)

    def median(self, measure: str, contender: str) -> float:
        """The middle figure."""
        return statistics.median(self.figures[measure][contender])


@dataclass(frozen=True, slots=True)
class Contender:
    """A server, and how a client asks it for the seeded image."""

    server: Server
    prefix: str
    """/v2/… of the repository."""
    authorization: str

    def url(self, end: str) -> str:
        """The URL of manifests/… or blobs/…"""
        return f"{self.server.url}{self.prefix}/{end}"


def basic(user: str, password: str) -> str:
    """A Basic Authorization header's value."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@contextlib.contextmanager
def contenders(directory: Path) -> Iterator[tuple[Seeded, dict[str, Contender]]]:
    """Everything that is measured, running side by side."""
    with contextlib.ExitStack() as stack:
        seeded = _upstream(directory, stack)
        upstream = {"host": seeded.host, "username": seeded.username, "password": seeded.password}
        vendor = basic(seeded.username, seeded.password)
        found = {}
        for name, licenses in (("pullgate", FEW), ("pullgate, 100,000", MANY)):
            found[name] = _pullgate(directory, stack, name, licenses, upstream)
        port = free_port()
        config = nginx_config(directory / "nginx", port, seeded.host, vendor, seeded.static)
        server = stack.enter_context(
            start(
                "nginx",
                MEASURED_CORE,
                [find("nginx"), "-c", str(config)],
                f"http://127.0.0.1:{port}",
                directory / "n.log",
            )
        )
        found["nginx proxy"] = Contender(server, "/v2/my-org/api", "")
        port = free_port()
        mirror = registry_config(directory / "mirror", port, upstream)
        server = stack.enter_context(
            start(
                "mirror",
                MEASURED_CORE,
                ["env", "GOMAXPROCS=1", find("docker-registry"), "serve", str(mirror)],
                f"http://127.0.0.1:{port}",
                directory / "m.log",
            )
        )
        found["distribution mirror"] = Contender(server, "/v2/my-org/api", "")
        yield seeded, found


def _upstream(directory: Path, stack: contextlib.ExitStack) -> Seeded:
    port = free_port()
    password = "bench-upstream"
    config = registry_config(directory / "upstream", port, None)
    command = [find("docker-registry"), "serve", str(config)]
    stack.enter_context(start("upstream", OTHER_CORE, command, f"http://127.0.0.1:{port}", directory / "u.log"))
    return seed(f"127.0.0.1:{port}", "vendor", password, directory / "static")


def _pullgate(
    directory: Path, stack: contextlib.ExitStack, name: str, licenses: int, upstream: dict[str, str]
) -> Contender:
    port, admin, key = free_port(), free_port(), new_key()
    config = directory / f"pullgate-{licenses}.json"
    config.write_text(
        json.dumps({"port": port, "admin_port": admin, "licenses": licenses, "key": key, "upstream": upstream})
    )
    command = [python(), "-m", "benchmarks.serve", str(config)]
    log = directory / f"pullgate-{licenses}.log"
    url, admin_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}"
    server = stack.enter_context(start(name, MEASURED_CORE, command, url, log, admin_url))
    return Contender(server, "/v2/proxy/my-app/upstream/my-org/api", basic("customer", key))


def manifests_per_second(contender: Contender, seeded: Seeded, seconds: int) -> float:
    """GET manifest by digest, 32 connections; every answer is 200."""
    return _wrk(contender, contender.url(f"manifests/{seeded.manifest}"), seconds)


def tags_per_second(contender: Contender, _: Seeded, seconds: int) -> float:
    """GET manifest by tag, what skopeo and oras begin a pull with."""
    return _wrk(contender, contender.url("manifests/1.0.0"), seconds)


def _wrk(contender: Contender, url: str, seconds: int) -> float:
    script = Path(tempfile.gettempdir()) / f"bench-{os.getpid()}.lua"
    script.write_text(
        'wrk.headers["Accept"] = "application/vnd.oci.image.manifest.v1+json"\n'
        + (f'wrk.headers["Authorization"] = "{contender.authorization}"\n' if contender.authorization else "")
    )
    command = ["taskset", "-c", OTHER_CORE, find("wrk"), "-t1", "-c32", f"-d{seconds}s", "-s", str(script), url]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out:
        raise SystemExit(f"{contender.server.name} refused: {out}")
    return float(next(line.split()[1] for line in out.splitlines() if line.startswith("Requests/sec")))


def blob_megabytes_per_second(contender: Contender, seeded: Seeded, _: int) -> float:
    """One client, one 512 MiB blob."""
    return _blob_rate(contender.url(f"blobs/{seeded.large}"), contender.authorization, seeded.large_size)


def _blob_rate(url: str, authorization: str, size: int) -> float:
    header = ["-H", f"Authorization: {authorization}"] if authorization else []
    command = [
        "taskset",
        "-c",
        OTHER_CORE,
        find("curl"),
        "-sSf",
        "-o",
        "/dev/null",
        "-w",
        "%{size_download}",
        *header,
        url,
    ]
    began = time.monotonic()
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if int(float(out)) != size:
        raise SystemExit(f"{url}: {out} bytes instead of {size}")
    return size / (time.monotonic() - began) / 1e6


def many_pulls(contender: Contender, seeded: Seeded) -> tuple[float, float]:
    """200 clients at once, 64 MiB each: (MB/s, the server's peak of resident MiB)."""
    header = ["-H", f"Authorization: {contender.authorization}"] if contender.authorization else []
    url = contender.url(f"blobs/{seeded.medium}")
    each = [part for _ in range(200) for part in ("-o", "/dev/null", url)]
    command = ["taskset", "-c", OTHER_CORE, find("curl"), "-sSf", "-Z", "--parallel-max", "200", *header, *each]
    began = time.monotonic()
    subprocess.run(command, capture_output=True, check=True)
    rate = 200 * seeded.medium_size / (time.monotonic() - began) / 1e6
    return rate, contender.server.resident_peak() / 2**20


Measure = Callable[[Contender, Seeded, int], float]
MEASURES: dict[str, Measure] = {
    "manifest by digest, GET/s": manifests_per_second,
    "manifest by tag, GET/s": tags_per_second,
    "blob of 512 MiB, MB/s": blob_megabytes_per_second,
}


def run(rounds: int, seconds: int) -> tuple[Results, dict[str, float]]:
    """All measures; (figures by round, resident MiB by server)."""
    results = Results()
    memory: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="pullgate-bench-") as name, contenders(Path(name)) as (seeded, found):
        for contender_name, contender in found.items():
            memory[f"{contender_name}: at rest"] = contender.server.resident() / 2**20
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}")
            for measure, call in MEASURES.items():
                for contender_name, contender in found.items():
                    results.add(measure, contender_name, call(contender, seeded, seconds))
            static = found["nginx proxy"].server.url + f"/static/{seeded.large.partition(':')[2]}"
            results.add("blob of 512 MiB, MB/s", "nginx static file", _blob_rate(static, "", seeded.large_size))
        for contender_name in ("pullgate", "nginx proxy"):
            rate, peak = many_pulls(found[contender_name], seeded)
            results.add("200 pulls of 64 MiB at once, MB/s", contender_name, rate)
            memory[f"{contender_name}: peak with 200 pulls of 64 MiB"] = peak
    return results, memory


def render(results: Results, memory: dict[str, float], rounds: int, seconds: int) -> str:
    """The Markdown page."""
    lines = [
        "# Benchmarks",
        "",
        f"Written by `make bench` on {datetime.now(UTC).date()}: {rounds} rounds, {seconds} s a rate, medians.",
        f"Python {platform.python_version()}, {os.cpu_count()} cores: the measured server on one, upstream and load on",
        "the other. The upstream is a real docker-registry, without a login (bcrypt would hide the rest).",
        "Pullgate has no cache; distribution's mirror answers from its own.",
        "",
        "| measure | contender | median | x nginx proxy |",
        "|---|---|---:|---:|",
    ]
    for measure, by_contender in results.figures.items():
        base = results.median(measure, "nginx proxy")
        for contender in by_contender:
            figure = results.median(measure, contender)
            lines.append(f"| {measure} | {contender} | {figure:,.0f} | {figure / base:.2f} |")
    lines += ["", "| resident memory | MiB |", "|---|---:|"]
    lines += [f"| {name} | {mebibytes:,.0f} |" for name, mebibytes in memory.items()]
    lines += ["", "| aim | measured | met |", "|---|---|---|", *_aims(results, memory), ""]
    return "\n".join(lines)


def _aims(results: Results, memory: dict[str, float]) -> Iterator[str]:
    def ratio(measure: str, contender: str, base: str) -> float:
        return results.median(measure, contender) / results.median(measure, base)

    get, blob = "manifest by digest, GET/s", "blob of 512 MiB, MB/s"
    rows = [
        ("manifests at least 0.5 x nginx's reverse proxy", ratio(get, "pullgate", "nginx proxy"), 0.5),
        ("blobs at least 0.9 x nginx's reverse proxy", ratio(blob, "pullgate", "nginx proxy"), 0.9),
        ("100,000 licenses as fast as 10 (within noise: 0.93 x)", ratio(get, "pullgate, 100,000", "pullgate"), 0.93),
    ]
    for aim, value, least in rows:
        yield f"| {aim} | {value:.2f} | {'yes' if value >= least else 'no'} |"
    peak = memory["pullgate: peak with 200 pulls of 64 MiB"]
    yield f"| RSS under 200 MiB with 200 pulls of 64 MiB at once | {peak:.0f} MiB | {'yes' if peak < 200 else 'no'} |"


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--no-write", action="store_true", help="print only")
    arguments = parser.parse_args()
    results, memory = run(arguments.rounds, arguments.seconds)
    page = render(results, memory, arguments.rounds, arguments.seconds)
    print("\n" + page)
    if not arguments.no_write:
        RESULTS.write_text(page)


if __name__ == "__main__":
    main()
