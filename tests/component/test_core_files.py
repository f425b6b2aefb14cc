"""A process that holds keys and credentials leaves no core file, whatever ends it and whatever the limits were."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from tests.support.folder import eventually
from tests.support.ports import free_port

ADMIN = ["--admin", "127.0.0.1:0"]
PIPE = Path("/proc/sys/kernel/core_pattern").read_text().startswith("|")


def start(command: Sequence[str], directory: Path) -> subprocess.Popen[bytes]:
    """A process that might leave a core file of any size in `directory`."""
    unlimited = ["prlimit", "--core=unlimited:unlimited"]
    with (directory / "stderr").open("wb") as said:
        return subprocess.Popen([*unlimited, sys.executable, *command], cwd=directory, stdout=said, stderr=said)


def end(process: subprocess.Popen[bytes], number: int) -> bool:
    """End it by the signal `number`. True if the kernel dumped a core."""
    os.kill(process.pid, number)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = -number
    assert os.WTERMSIG(status) == number
    return os.WCOREDUMP(status)


def cores(directory: Path) -> list[Path]:
    return list(directory.glob("core*"))


async def started(name: str, directory: Path) -> subprocess.Popen[bytes]:
    """`pullgate NAME`, once it is at work."""
    asked = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()  # until the process ends
        writer.close()

    if name == "standalone":
        folder, said = directory / "folder", directory / "stderr"
        folder.mkdir()
        listen = ["--listen", f"127.0.0.1:{free_port()}"]
        process = start(["-m", "pullgate_cli", name, str(folder), *listen, *ADMIN], directory)

        async def serves() -> bool:
            return "Ctrl-C ends it" in said.read_text()

        await eventually(serves)
        return process
    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    config = directory / "kubeconfig"
    config.write_text(yaml.safe_dump(kubeconfig(address)))
    listen = ["--listen", "127.0.0.1:0"] if name == "proxy" else []
    options = ["--external-url", "https://images.example.com", "--kubeconfig", str(config), *listen, *ADMIN]
    process = start(["-m", "pullgate_cli", name, *options], directory)
    async with asyncio.timeout(60):
        await asked.wait()
    server.close()
    return process


def kubeconfig(server: str) -> dict[str, object]:
    named = {"name": "a", "context": {"cluster": "a", "user": "a"}}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "a", "cluster": {"server": server}}],
        "users": [{"name": "a", "user": {"token": "CANARY-kubeconfig"}}],
        "contexts": [named],
        "current-context": "a",
    }


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
@pytest.mark.parametrize("name", ["standalone", "proxy", "operator"])
async def test_no_core_file_is_made_of_a_process_of_ours(tmp_path: Path, name: str, number: int) -> None:
    process = await started(name, tmp_path)
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    assert not await asyncio.to_thread(end, process, number), (tmp_path / "stderr").read_text()
    assert cores(tmp_path) == []
    assert next(line.split()[4:6] for line in limits.splitlines() if "core file" in line) == ["0", "0"]


async def test_of_another_process_one_is_made(tmp_path: Path) -> None:
    """This proves that the test above can fail. If the kernel pipes cores to a program, that program decides."""
    process = start(["-c", "import time; print('up', flush=True); time.sleep(60)"], tmp_path)

    async def is_up() -> bool:
        return (tmp_path / "stderr").read_text() == "up\n"

    await eventually(is_up)
    assert end(process, signal.SIGABRT) or PIPE
    assert cores(tmp_path) or PIPE
    for core in cores(tmp_path):
        core.unlink()


def test_a_forked_process_inherits_it(tmp_path: Path) -> None:
    script = (
        "import os, signal; from pullgate.private_memory import keep_memory_private; keep_memory_private()\n"
        "child = os.fork()\n"
        "if child == 0: os.kill(os.getpid(), signal.SIGABRT)\n"
        "print(os.WCOREDUMP(os.waitpid(child, 0)[1]))"
    )
    process = start(["-c", script], tmp_path)
    assert process.wait() == 0
    assert (tmp_path / "stderr").read_text().strip() == "False"
    assert cores(tmp_path) == []
