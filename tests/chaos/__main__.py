"""`make chaos`: every toxic under load, and docs/reliability.md. `--seconds` is how long each lasts."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.catalog import SCENARIOS
from tests.chaos.report import render
from tests.chaos.scenarios import Result, run
from tests.chaos.stage import Stage

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


async def work(seconds: float, only: str) -> list[Result]:
    """All results, told as they come."""
    results = []
    with tempfile.TemporaryDirectory(prefix="pullgate-chaos-") as directory:
        async with Stage(Path(directory)).up() as stage:
            for found in SCENARIOS:
                if only not in f"{found.where}: {found.name}":
                    continue
                result = await run(stage, found, seconds)
                results.append(result)
                mark = "ok  " if result.good else "BAD "
                print(mark, f"{result.where}: {result.name}", result.tally, result.recovered, flush=True)
    return results


def main() -> int:
    """The exit code: 1 if a byte was wrong or a pull was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only", default="", help="a part of the name of a toxic")
    parser.add_argument("--no-write", action="store_true")
    options = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # moto's
    began = time.monotonic()
    results = asyncio.run(work(options.seconds, options.only))
    total = time.monotonic() - began
    print(f"{len(results)} scenarios in {total:.0f} s")
    if not options.no_write and not options.only:
        PAGE.write_text(render(results, options.seconds, total))
    return 0 if results and all(result.good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
