"""No surrounding ends a command with a traceback: a broken kubeconfig, an old locale, a full disk, a reader gone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.cli import NO_CLUSTER, pullgate
from tests.support.gate import license_
from tests.support.ports import Blackhole

NAMED = {"contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}], "current-context": "a"}
SERVER = "https://127.0.0.1:1"
KUBECONFIGS: dict[str, bytes | dict[str, Any]] = {
    "empty": b"",
    "binary": bytes(range(256)),
    "text": b"hello",
    "a list": b"- 1\n",
    "broken YAML": b"a: [\n",
    "no context": {"kind": "Config"},
    "another shape": {**NAMED, "clusters": 3, "users": []},
    "no cluster": {**NAMED, "clusters": [], "users": []},
    "a broken CA": {
        **NAMED,
        "clusters": [{"name": "a", "cluster": {"server": SERVER, "certificate-authority-data": "AAAA"}}],
        "users": [{"name": "a", "user": {"token": "CANARY-kubeconfig"}}],
    },
    "a broken key": {
        **NAMED,
        "clusters": [{"name": "a", "cluster": {"server": SERVER}}],
        "users": [{"name": "a", "user": {"client-certificate-data": "AAAA", "client-key-data": "AAAA"}}],
    },
}


@pytest.mark.parametrize("kind", KUBECONFIGS)
@pytest.mark.parametrize("command", ["list", "operator", "proxy"])
async def test_a_broken_kubeconfig_is_one_sentence_and_exit_code_2(tmp_path: Path, kind: str, command: str) -> None:
    content, path = KUBECONFIGS[kind], tmp_path / "kubeconfig"
    path.write_bytes(content if isinstance(content, bytes) else yaml.safe_dump(content).encode())
    serving = [command, "--external-url", "https://images.test", "--admin", "127.0.0.1:0"]
    arguments = ["license", "list"] if command == "list" else serving
    ran = await pullgate(*arguments, "--kubeconfig", path)
    assert ran.code == 2, ran.output
    assert "kubeconfig" in ran.output
    assert len(ran.output.splitlines()) == 1, ran.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "license.yaml").write_text(yaml.safe_dump(license_("acme", customer={"name": "Ärger – 株式"})))
    return tmp_path


@pytest.mark.parametrize(
    ("encoding", "customer", "mark"),
    [("iso-8859-1", "\ufffdrger - ??", "+"), ("ascii", "Arger - ??", "+"), ("utf-8", "Ärger – 株式", "✓")],
)
async def test_every_locale_can_print_a_table(folder: Path, encoding: str, customer: str, mark: str) -> None:
    listed = await pullgate("license", "list", "--folder", folder, PYTHONIOENCODING=encoding)
    assert (listed.code, customer in listed.output) == (0, True), listed.output
    doctor = await pullgate("doctor", "--folder", folder, PYTHONIOENCODING=encoding)
    assert doctor.code == 0, doctor.output
    assert doctor.output.startswith(f"{mark} files")
    shown = ("gate", "--local", "127.0.0.1:1/a:1", "--timeout", "1s", "-o", "markdown")
    assert (await pullgate(*shown, PYTHONIOENCODING=encoding)).code == 1


COMMANDS = (
    ["--help"],
    ["gate", "--help"],
    ["doctor", "--folder", "."],
    ["license", "list", "--folder", "."],
    ["license", "list", "--folder", ".", "-o", "json"],
    ["license", "show", "acme", "--folder", "."],
    ["gate", "--local", "127.0.0.1:1/a:1", "--timeout", "1s"],
    ["gate", "--local", "127.0.0.1:1/a:1", "--timeout", "1s", "-o", "markdown"],
)


async def run_with_output(arguments: list[str], directory: Path, descriptor: int) -> tuple[int, str]:
    """Exit code and standard error, with standard output at `descriptor`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pullgate_cli",
        *arguments,
        stdout=descriptor,
        stderr=asyncio.subprocess.PIPE,
        cwd=directory,
        env={**os.environ, **NO_CLUSTER},
    )
    _, errors = await process.communicate()
    return process.returncode or 0, errors.decode()


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
async def test_a_reader_that_left_is_no_answer_of_the_command(folder: Path, arguments: list[str]) -> None:
    """`doctor | head -1` under pipefail: 1 would say that something is wrong."""
    reader, writer = os.pipe()
    os.close(reader)
    code, errors = await run_with_output(arguments, folder, writer)
    os.close(writer)
    assert (code, errors) == (141, "")


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
async def test_a_full_disk_is_one_sentence_and_exit_code_2(folder: Path, arguments: list[str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    code, errors = await run_with_output(arguments, folder, full)
    os.close(full)
    assert code == 2
    assert "No space left on device" in errors
    assert len(errors.splitlines()) == 1, errors


@pytest.mark.parametrize("command", ["gate", "registry test"])
async def test_ctrl_c_ends_with_130(tmp_path: Path, command: str) -> None:
    async with Blackhole() as hole:
        arguments = {
            "gate": ["gate", "--local", f"{hole.host}/a:1", "--plain-http", hole.host],
            "registry test": ["registry", "test", "--type", "Generic", "--host", hole.host, "--plain-http"],
        }[command]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pullgate_cli", *arguments, stderr=asyncio.subprocess.PIPE, cwd=tmp_path
        )
        async with asyncio.timeout(20):
            while not hole.connections and process.returncode is None:
                await asyncio.sleep(0.02)
            process.send_signal(signal.SIGINT)
            _, errors = await process.communicate()
    assert process.returncode == 130, errors.decode()
