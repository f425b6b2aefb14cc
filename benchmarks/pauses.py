"""`python -m benchmarks.pauses`: how long each hostile input holds the proxy's event loop. Writes benchmarks/PAUSES.md.

`--before TREE` measures another tree of this repository, too: `git worktree add TREE COMMIT`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from benchmarks.serve import APP
from benchmarks.servers import free_port
from pullgate.licensing.keys import digest_text, key_digest, new_key

RESULTS = Path(__file__).parent / "PAUSES.md"
CHILD = Path(__file__).parent / "paused_proxy.py"
LICENSES = 10_000
LARGE = (256, 1024)
"""Patterns of a License that is within the bound of all patterns, and of one that the CRD alone lets through."""
SIZE = 4 * 1024 * 1024 - 64
INDEX = "application/vnd.oci.image.index.v1+json"
ZERO = f"sha256:{'0' * 64}"


@dataclass(frozen=True, slots=True)
class Row:
    """One hostile input."""

    what: str
    body: bytes = field(repr=False)
    path: str
    """Behind the repository's name."""
    license: str = "wide"
    times: int = 1
    """Requests, one after the other."""
    at_once: int = 1
    answers: str = ""
    """The kind of request that gets `body`; left out: the path's own."""


def filled(unit: str, name: str = "tags") -> bytes:
    """A document of 4 MiB whose list `name` repeats `unit`."""
    return f'{{"schemaVersion":2,"{name}":[{",".join([unit] * (SIZE // (len(unit) + 1) - 8))}]}}'.encode()


def digests(count: int) -> list[str]:
    """Digests that differ."""
    return [f"sha256:{hashlib.sha256(str(number).encode()).hexdigest()}" for number in range(count)]


def tags(count: int) -> bytes:
    """A list of versions, in one page."""
    return json.dumps({"name": "x", "tags": [f"1.{number}.{number % 1000}" for number in range(count)]}).encode()


def index(count: int) -> bytes:
    """An image index, or a list of referrers."""
    children = [{"mediaType": "a/b", "size": 1, "digest": digest} for digest in digests(count)]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).encode()


def build_rows() -> list[Row]:
    """All inputs."""
    fields = "{" + ",".join(f'"{number:x}":1' for number in range(400_000)) + "}"
    nested = "[" * 60 + "]" * 60
    listing, many = "tags/list", tags(170_000)
    return [
        Row("170,000 tags in a page, a semver rule", many, listing, "ruled"),
        Row("the same, four at once", many, listing, "ruled", at_once=4),
        Row("the same, a rule of 60 long patterns that no tag matches", many, listing, "slow"),
        Row("the same, no rule", many, listing),
        Row("30,000 tags in a page, a semver rule, 20 times", tags(30_000), listing, "ruled", times=20),
        Row("a digest to prove among 170,000 tags", many, f"manifests/{ZERO}", "few", answers="tags"),
        Row("a list of tags that is 1,400,000 empty lists", filled("[]"), listing),
        Row("a list of tags that is lists in lists, 60 deep", filled(nested), listing),
        Row("a list of tags with 400,000 fields", fields.encode(), listing),
        Row("a list of tags that is numbers of 4,000 digits", filled("1" * 4000), listing),
        Row("an index of 10,000 manifests, a semver rule", index(10_000), "manifests/1.5.0", "ruled"),
        Row("a manifest that is 1,400,000 empty lists, a semver rule", filled("[]", "x"), "manifests/1.5.0", "ruled"),
        Row("referrers: 30,000 in a page", index(30_000), f"referrers/{ZERO}"),
        Row("referrers: 10,000 in a page", index(10_000), f"referrers/{ZERO}"),
    ]


def license_(name: str, key: str, tags: dict[str, Any] | None = None) -> dict[str, Any]:
    """A License with one key."""
    entitlement: dict[str, Any] = {"repositories": ["**"]} | ({"tags": tags} if tags else {})
    return {
        "apiVersion": "pullgate.dev/v1alpha1",
        "kind": "License",
        "metadata": {"name": name, "namespace": APP},
        "spec": {"entitlements": [entitlement]},
        "status": {"keys": [{"id": "k1", "digest": digest_text(key_digest(key)), "issuedAt": "2026-01-01T00:00:00Z"}]},
    }


def large_license(count: int) -> dict[str, Any]:
    """A License of `count` patterns of 230 characters."""
    document = license_("large", new_key())
    patterns = [f"{number:04}/{'a*' * 110}" for number in range(count)]
    document["spec"]["entitlements"] = [{"repositories": patterns[at : at + 64]} for at in range(0, count, 64)]
    return document


class Measured:
    """A proxy in a process of its own, its upstream here."""

    def __init__(self, tree: Path, directory: Path, upstream_port: int, keys: dict[str, str]) -> None:
        self.port, self._admin, self._control = free_port(), free_port(), free_port()
        rules: dict[str, dict[str, Any] | None] = {
            "wide": None,
            "ruled": {"semver": ">=1.4 <2"},
            "few": {"semver": ">=1.169998"},
            "slow": {"match": [f"{'*1' * 100}{number}x" for number in range(60)]},
        }
        config = {
            "port": self.port,
            "admin_port": self._admin,
            "control_port": self._control,
            "licenses": LICENSES,
            "upstream": {"host": f"127.0.0.1:{upstream_port}", "username": "u", "password": "p"},
            "documents": [license_(name, keys[name], rule) for name, rule in rules.items()],
        }
        path = directory / "config.json"
        path.write_text(json.dumps(config))
        parts = [tree, *(tree / part for part in ("core", "proxy", "operator", "cli"))]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, parts))}
        self.process = subprocess.Popen([sys.executable, "-P", str(CHILD), str(path)], env=environment)

    async def control(self, session: aiohttp.ClientSession, method: str, path: str, data: bytes | None = None) -> str:
        """Ask the control port, until it is there."""
        for _ in range(600):
            try:
                async with session.request(method, f"http://127.0.0.1:{self._control}/{path}", data=data) as got:
                    return await got.text()
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.1)
        raise SystemExit("the proxy did not start")

    async def worst(self, session: aiohttp.ClientSession) -> float:
        """Milliseconds of the worst pause since this was asked last."""
        await asyncio.sleep(0.05)
        return 1000 * float(await self.control(session, "GET", "worst"))


@contextlib.asynccontextmanager
async def upstream(rows: list[Row]) -> AsyncIterator[int]:
    """An upstream whose repository `row-N` answers as row N does; yields its port."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        row = next((part for part in request.path.split("/") if part.startswith("row-")), None)
        if row is None:
            return web.Response(text="{}")
        found, (*_, kind, reference) = rows[int(row.removeprefix("row-"))], request.path.split("/")
        if kind != (found.answers or found.path.partition("/")[0]) or (kind == "manifests" and reference == ZERO):
            return web.Response(status=404)
        return web.Response(body=found.body, content_type="application/json" if kind == "tags" else INDEX)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield int(runner.addresses[0][1])
    await runner.cleanup()


async def measure(tree: Path, rows: list[Row]) -> list[float]:
    """The worst pause of each row in milliseconds; then that of the start, and those of large Licenses."""
    keys = {name: new_key() for name in ("wide", "ruled", "few", "slow")}
    found, large = list[float](), list[float]()
    with tempfile.TemporaryDirectory(prefix="pullgate-bench-") as name:
        async with upstream(rows) as port, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600)) as session:
            proxy = Measured(tree, Path(name), port, keys)
            try:
                start = await proxy.worst(session)
                for number, row in enumerate(rows):
                    login = base64.b64encode(f"x:{keys[row.license]}".encode()).decode()
                    url = f"http://127.0.0.1:{proxy.port}/v2/proxy/{APP}/upstream/row-{number}/{row.path}"
                    headers = {"Authorization": f"Basic {login}", "Accept": INDEX}
                    for _ in range(row.times):
                        statuses = await asyncio.gather(*(_get(session, url, headers) for _ in range(row.at_once)))
                    found.append(await proxy.worst(session))
                    print(f"{found[-1]:8.1f} ms  {row.what}: {statuses}", flush=True)
                for count in LARGE:
                    await proxy.control(session, "POST", "publish", json.dumps(large_license(count)).encode())
                    await asyncio.sleep(3)
                    large.append(await proxy.worst(session))
            finally:
                proxy.process.terminate()
                await asyncio.to_thread(proxy.process.wait)
    return [*found, start, *large]


async def _get(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> int:
    """The status."""
    async with session.get(url, headers=headers) as got:
        await got.read()
        return got.status


def _size(count: int) -> str:
    return f"{count / 1024:,.0f} KiB"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="another tree of this repository")
    parser.add_argument("--no-write", action="store_true")
    given = parser.parse_args()
    rows = build_rows()
    now = asyncio.run(measure(Path(__file__).parent.parent, rows))
    before = asyncio.run(measure(given.before.absolute(), rows)) if given.before else [None] * len(now)
    whats = [(row.what, _size(len(row.body))) for row in rows]
    whats.append((f"the first list: {LICENSES:,} Licenses", ""))
    whats += [
        (f"a License of {count:,} long patterns", _size(len(json.dumps(large_license(count))))) for count in LARGE
    ]
    lines = [
        f"| {what} | {size} | {f'{old:,.0f} ms' if old is not None else ''} | {new:,.0f} ms |"
        for (what, size), old, new in zip(whats, before, now, strict=True)
    ]
    page = f"""\
# Pauses of the event loop

Written by `make bench-pauses` on {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {sys.version.split()[0]}:
each input is sent to a proxy of its own process, by an upstream, a customer or a tenant who means harm. The pause is
the longest time for which the proxy's event loop did not run, in processor time of that process.

| input | size | before | now |
|---|---|---|---|
{chr(10).join(lines)}

Their bounds: [docs/limits.md](../docs/limits.md#limits-of-one-input).
"""
    print(page)
    if not given.no_write:
        RESULTS.write_text(page)


if __name__ == "__main__":
    main()
