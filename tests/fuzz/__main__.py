"""`make fuzz`: a million requests out of shape. `--seed` repeats a run."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from tests.fuzz.run import Fuzzer


def main() -> int:
    """The exit code: 1 if an invariant failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="pullgate-fuzz-") as directory:
        outcome = asyncio.run(Fuzzer(Path(directory), options.seed).run(options.count))
    print(f"{outcome.sent} requests in {outcome.seconds:.0f} s; answers {dict(outcome.statuses.most_common())}")
    print(f"{outcome.silent} connections ended without a word; memory {outcome.memory[0]} -> {outcome.memory[1]} KiB")
    for name in ("hung", "failed", "strange"):
        for each in getattr(outcome, name):
            print(name, repr(each)[:1000])
    print(f"unanswered plain requests: {outcome.unanswered}")
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
