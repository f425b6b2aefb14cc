"""`make run`, as a person would: the first command pulls, the others fail and say why, Ctrl-C ends all of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.clients.command import run
from tests.support.ports import free_port

BIN = Path(sys.executable).parent
pytestmark = pytest.mark.xdist_group("demo")  # the commands of all demos write to the same directories


@contextlib.asynccontextmanager
async def demo(directory: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[str]]]:
    """The running demo, and its output until it was ready."""
    ports = ["--listen", f"127.0.0.1:{free_port()}", "--admin", f"127.0.0.1:{free_port()}"]
    command = [str(BIN / "pullgate"), "demo", str(directory), *ports]
    process = await asyncio.create_subprocess_exec(
        *command, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    assert process.stderr is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(30):
            while not lines or "Ctrl-C ends all of it" not in lines[-1]:
                line = await process.stderr.readline()
                assert line, lines
                lines.append(line.decode())
        yield process, lines
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)  # so that its registry ends, too
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def test_the_three_commands_do_what_the_demo_says_and_ctrl_c_ends_all(tmp_path: Path) -> None:
    async with demo(tmp_path / "demo") as (process, lines):
        commands = [shlex.split(line) for line in lines if line.startswith("   skopeo")]
        pulled, refused, expired = [await run(command) for command in commands]
        assert pulled.exit_code == 0, pulled.output
        assert refused.exit_code != 0
        assert "license acme does not cover proxy/demo/upstream/my-org/secret" in refused.output
        assert expired.exit_code != 0
        assert "license former expired on 2026-10-01; renew it with the vendor" in expired.output
        assert Path(commands[0][-1].removeprefix("dir:"), "manifest.json").exists()  # the refused pulls left it alone
        upstream = next(line for line in lines if "the upstream itself" in line).partition("(")[2].partition(")")[0]
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    host, _, port = upstream.partition(":")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))


async def test_a_person_suspends_a_license_in_the_demo_and_the_next_pull_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    async with demo(directory) as (_, lines):
        pull = shlex.split(next(line for line in lines if line.startswith("   skopeo")))
        licenses = directory / "licenses.yaml"
        licenses.write_text(licenses.read_text().replace("  # suspended:", "  suspended:"))
        async with asyncio.timeout(10):
            while (await run(pull)).exit_code == 0:
                await asyncio.sleep(0.1)
        done = await run(pull)  # the one before may have been refused in the middle, at a blob
        assert "license acme is suspended: invoice 77 unpaid; settle it with the vendor" in done.output
