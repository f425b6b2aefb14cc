"""`python -m tests.fuzz.parsers`: each parser for some seconds, guided by what its code has not run yet (atheris).

An input that breaks a parser is left in build/fuzz as `PARSER-crash-…`, or as `PARSER-timeout-…` if it takes too long.
It becomes a seed once the parser is mended. If atheris has no wheel, seeds are changed at random.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

try:
    import atheris
except ImportError:
    atheris = None

FOUND: Final = Path(os.environ.get("PULLGATE_FUZZ_FOUND", "build/fuzz"))
SLOW_SECONDS: Final = 20
MEMORY_MIB: Final = 1024


def main() -> int:
    """The exit code: 1 if a parser broke."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--parser", action="append", help="only this one; repeatable")
    options.add_argument("--seconds", type=int, default=5, help="for each")
    options.add_argument("--seed", type=int, default=0, help="of the first random number; 0 for any")
    given = options.parse_args()
    parsers = _load()
    unknown = set(given.parser or ()) - set(parsers)
    if unknown:
        options.error(f"no such parser: {', '.join(sorted(unknown))}; one of {', '.join(parsers)}")
    FOUND.mkdir(parents=True, exist_ok=True)
    broken = [name for name in given.parser or parsers if not _fuzz(name, given.seconds, given.seed)]
    print(f"{len(given.parser or parsers)} parsers, broken: {', '.join(broken) or 'none'}")
    return 1 if broken else 0


def _load() -> list[str]:
    """The names of all parsers, their code watched."""
    if atheris is not None:
        rooms = ["pullgate", "pullgate_proxy", "pullgate_operator", "pullgate_cli", "semantic_version", "cronsim"]
        said = io.StringIO()  # the name of each module
        watched = atheris.instrument_imports(include=rooms, enable_loader_override=False)
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), watched:
            from tests.fuzz.parsers import table
    else:
        from tests.fuzz.parsers import table
    return list(table.PARSERS)


def _fuzz(name: str, seconds: int, seed: int) -> bool:
    """True if nothing broke. Forks, because libFuzzer ends the process that it runs in."""
    began = time.monotonic()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        log = os.open(FOUND / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 2)
        os.dup2(log, 1)
        with tempfile.TemporaryDirectory(prefix="pullgate-fuzz-") as room:
            (_guided if atheris is not None else _unguided)(name, seconds, seed, Path(room))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    log_text = (FOUND / f"{name}.log").read_text(errors="replace")
    runs = log_text.rpartition("\nDone ")[2].partition(" ")[0] if "\nDone " in log_text else "?"
    print(f"{name}: {runs} inputs in {time.monotonic() - began:.0f} s{'' if code == 0 else f', BROKEN ({code})'}")
    if code != 0:
        print(log_text[-3000:])
    return code == 0


def _guided(name: str, seconds: int, seed: int, room: Path) -> None:
    from tests.fuzz.parsers.parser import CORPUS, LARGEST
    from tests.fuzz.parsers.table import PARSERS

    parser = PARSERS[name]
    words = room / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in parser.words))
    fresh = room / "fresh"
    fresh.mkdir()
    options = [
        sys.argv[0], f"-max_total_time={seconds}", f"-timeout={SLOW_SECONDS}", f"-rss_limit_mb={MEMORY_MIB}",
        f"-max_len={min(parser.largest, LARGEST // 16)}", f"-dict={words}", f"-artifact_prefix={FOUND}/{name}-",
        f"-seed={seed}", "-print_final_stats=1", str(fresh), str(CORPUS / name),
    ]  # fmt: skip
    atheris.Setup(options, parser.run)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    """`word` in the syntax of libFuzzer's dictionaries."""
    return "".join(f"\\x{byte:02x}" for byte in word)


def _unguided(name: str, seconds: int, seed: int, room: Path) -> None:
    from tests.fuzz.mutate import mutate
    from tests.fuzz.parsers.table import PARSERS

    rng = random.Random(seed or None)
    seeds, runs, end = list(PARSERS[name].seeds().values()), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutate(rng, rng.choice(seeds))
        (FOUND / f"{name}-crash-last").write_bytes(data)
        PARSERS[name].run(data)
        runs += 1
    (FOUND / f"{name}-crash-last").unlink()
    print(f"\nDone {runs} runs", flush=True)


if __name__ == "__main__":
    sys.exit(main())
