"""Run a client as a person would, and keep what it printed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import tracebacks
from tests.support.canaries import find_secret, look

SECONDS = 60.0
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Pull:
    """The result of a command."""

    exit_code: int
    output: str
    """Standard output and error as a person sees them, without colours."""
    contents: Mapping[str, int] = field(default_factory=dict)
    """Digest -> size of every manifest and blob that was received, each hashed anew from the client's own storage."""


async def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    seconds: float = SECONDS,
    shows_secrets: bool = False,
) -> Pull:
    """Run `command` to its end, or kill it after `seconds`, which gives exit code 124.

    No secret may stand in what it prints, unless it is there to show one.
    """
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate(stdin.encode())
    except (TimeoutError, asyncio.CancelledError) as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if isinstance(error, asyncio.CancelledError):
            raise
        return Pull(124, f"no end after {seconds:g} s")
    text = _ANSI.sub("", output.decode(errors="replace")).replace("\r", "\n")
    tracebacks.look(f"output of {Path(command[0]).name}", text)
    if not shows_secrets:
        words = " ".join(map(str, command[:6]))
        look(f"output of {words if find_secret(words) is None else command[0]}", text)
    return Pull(process.returncode or 0, text)


def docker_config(directory: Path, host: str, username: str, password: str) -> Path:
    """A config.json with one login, or with none for an empty user: what docker, podman, oras and helm read."""
    directory.mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(f"{username}:{password}".encode()).decode()
    path = directory / "config.json"
    path.write_text(json.dumps({"auths": {host: {"auth": auth}} if username else {}}))
    return path


def host_of(reference: str) -> str:
    """The host:port of a reference."""
    return reference.partition("/")[0]


def hashed(paths: Sequence[Path]) -> dict[str, int]:
    """Digest -> size of files."""
    found = {}
    for path in paths:
        data = path.read_bytes()
        found["sha256:" + hashlib.sha256(data).hexdigest()] = len(data)
    return found


def files_below(directory: Path) -> list[Path]:
    """All files below `directory`, if it is there."""
    return [path for path in directory.rglob("*") if path.is_file()] if directory.exists() else []


async def wait_for(path: Path, process: asyncio.subprocess.Process, log: Path, seconds: float = 30) -> None:
    """Wait until a daemon's socket is there."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while process.returncode is None:
                if path.exists():
                    return
                await asyncio.sleep(0.05)
    raise RuntimeError(f"the daemon did not start: {log.read_text(errors='replace')[-2000:]}")


async def stop(process: asyncio.subprocess.Process) -> None:
    """End a daemon for sure, with all that it started."""
    if process.returncode is None:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
