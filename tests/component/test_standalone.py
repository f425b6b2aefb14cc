"""`pullgate standalone DIR` as a person runs it: a process, a folder, a real upstream."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import aiohttp
import pytest

from pullgate.oci.digest import digest_of
from tests.support.folder import Folder, eventually, license_text, registry_text, secret_text
from tests.support.images import large_image
from tests.support.ports import free_port
from tests.support.unprivileged import USER, unprivileged
from tests.support.upstreams import DockerRegistry


class Running:
    """The process."""

    def __init__(self, folder: Folder, port: int, process: asyncio.subprocess.Process, errors: Path) -> None:
        self.folder, self.port, self.process, self._errors = folder, port, process, errors

    @property
    def said(self) -> str:
        """Its standard error so far."""
        return self._errors.read_text()

    @property
    def key(self) -> str:
        """The key of acme, as a person finds it: in the file that the table names."""
        found = re.search(r"(\S*acme-license\.yaml)", self.said)
        assert found is not None
        key = re.search(r"pgk_[0-9A-Za-z]+", Path(found[1]).read_text())
        assert key is not None
        return key[0]

    async def status(self, key: str) -> int:
        """The status code of listing tags with `key`."""
        url = f"http://127.0.0.1:{self.port}/v2/proxy/my-app/up/my-org/api/tags/list"
        headers = {"Authorization": aiohttp.encode_basic_auth("acme", key)}
        async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as response:
            return response.status

    async def until_said(self, words: str) -> None:
        """Wait for words on standard error."""

        async def said() -> bool:
            assert self.process.returncode is None, self.said
            return words in self.said

        await eventually(said)


@contextlib.asynccontextmanager
async def standalone(folder: Folder, *options: str, under: Sequence[str] = (), **env: str) -> AsyncIterator[Running]:
    """A process that serves `folder`, once it is ready; `env` adds to the environment of the tests.

    `under` is a command that runs another, such as setpriv.
    """
    port, errors = free_port(), folder.path.with_name("stderr")
    command = [*under, sys.executable, "-m", "pullgate_cli", "standalone", str(folder.path)]
    addresses = [
        "--listen",
        f"127.0.0.1:{port}",
        "--admin",
        "127.0.0.1:0",
        "--private-networks",
        "127.0.0.0/8",
        *options,
    ]
    with errors.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(
            *command, *addresses, stdout=asyncio.subprocess.DEVNULL, stderr=stream, env={**os.environ, **env}
        )
    try:
        running = Running(folder, port, process, errors)
        await running.until_said("Ctrl-C ends it")
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
def folder(tmp_path: Path, docker_registry_basic: DockerRegistry) -> Folder:
    """A Registry, its Secret, and a License."""
    found = Folder(tmp_path / "folder")
    found.write("registry.yaml", registry_text(docker_registry_basic.host))
    found.write("robot.yaml", secret_text(docker_registry_basic.username, docker_registry_basic.password))
    found.write("licenses.yaml", license_text(expiresAt="2199-01-01T00:00:00Z"))
    return found


async def test_a_person_pulls_with_the_key_and_sees_what_changes(
    folder: Folder, record_property: Callable[[str, object], None]
) -> None:
    async with standalone(folder) as running:
        key = running.key
        assert await running.status(key) == 200
        assert key not in running.said
        began = time.monotonic()
        folder.write("licenses.yaml", license_text(suspended="{reason: invoice 77 unpaid}"))

        async def refused() -> bool:
            return await running.status(key) == 403

        await eventually(refused)
        record_property("seconds", round(time.monotonic() - began, 3))
        await running.until_said("License my-app/acme: Suspended: suspended: invoice 77 unpaid")
        folder.write("licenses.yaml", license_text(expiresAt="x"))
        await running.until_said(
            f"{folder.path}/licenses.yaml:5: License acme: spec.expiresAt: 'x' is not a time; write"
        )
        assert await running.status(key) == 403
        folder.write("licenses.yaml", license_text())

        async def served() -> bool:
            return await running.status(key) == 200

        await eventually(served)
        assert folder.private("license-public-key.pem").read_text().startswith("-----BEGIN PUBLIC KEY-----")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_cleanly(folder: Folder, number: signal.Signals) -> None:
    async with standalone(folder) as running:
        running.process.send_signal(number)
        assert await running.process.wait() == 0
        assert "Traceback" not in running.said


async def test_a_taken_port_is_told_with_what_to_do(folder: Folder) -> None:
    async with standalone(folder) as running:
        other = folder.path.with_name("other")
        other.mkdir()
        command = [sys.executable, "-m", "pullgate_cli", "standalone", str(other)]
        arguments = ["--listen", f"127.0.0.1:{running.port}", "--admin", "127.0.0.1:0"]
        done = await asyncio.to_thread(
            subprocess.run, [*command, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert f"127.0.0.1:{running.port}" in done.stderr
        assert "--listen" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "nowhere"], "write it like 127.0.0.1:8080"),
        (["--tls-cert", "a.pem"], "TLS needs both files"),
        (["--trusted-proxy", "x"], "write it like 10.0.0.0/8"),
        (["--external-url", "images.example.com"], "write it like https://images.example.com"),
        (["--listen", "127.0.0.1:0"], "--external-url must say"),
    ],
)
def test_an_option_that_cannot_work_is_told_with_its_fix(tmp_path: Path, arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "pullgate_cli", "standalone", str(tmp_path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], ("aiohttp", "pydantic", "yaml", "rich", "asyncio")),
        (["license", "list", "--folder", "."], ("kubernetes", "aiohttp")),
    ],
    ids=["help", "a folder"],
)
def test_a_command_imports_nothing_that_it_does_not_need(
    tmp_path: Path, arguments: list[str], heavy: tuple[str, ...]
) -> None:
    script = (
        "import sys; from pullgate_cli.__main__ import main\n"
        f"try: main({arguments!r})\nexcept SystemExit as end: assert not end.code\n"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip().endswith("[]")


LARGE = large_image(8 * 2**20)


async def test_a_user_without_rights_whose_memory_is_private_uses_the_disk(
    docker_registry_basic: DockerRegistry,
) -> None:
    await docker_registry_basic.push("my-org/large", "1", LARGE)
    digest = next(iter(LARGE.streams))
    with tempfile.TemporaryDirectory() as made:  # pytest's own folders are for root alone
        home = Path(made)
        folder = Folder(home / "folder")
        folder.write("registry.yaml", registry_text(docker_registry_basic.host))
        folder.write("robot.yaml", secret_text(docker_registry_basic.username, docker_registry_basic.password))
        folder.write("licenses.yaml", license_text())
        for path in (home, *home.rglob("*")):
            shutil.chown(path, USER, USER)
        (home / "empty").mkdir()
        admin = free_port()
        options = ["--blob-cache", str(home / "cache"), "--admin", f"127.0.0.1:{admin}"]
        async with standalone(folder, *options, under=unprivileged(home / "empty")) as running:
            status = Path(f"/proc/{running.process.pid}/status").read_text()
            assert f"Uid:\t{USER}\t{USER}\t{USER}" in status
            assert "CapEff:\t0000000000000000" in status
            headers = {"Authorization": aiohttp.encode_basic_auth("acme", running.key)}
            url = f"http://127.0.0.1:{running.port}/v2/proxy/my-app/up/my-org/large/blobs/{digest}"

            async def pull() -> tuple[str, str]:
                async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as response:
                    return digest_of(await response.read()), response.headers.get("X-Pullgate-Cache", "")

            async def serves() -> bool:
                with contextlib.suppress(aiohttp.ClientError):
                    return await running.status(running.key) == 200
                return False

            await eventually(serves)
            got = await asyncio.gather(*(pull() for _ in range(16)))
            assert {found for found, _ in got} == {digest}
            assert {how for _, how in got} <= {"miss", "shared", "hit"}

            async def hit() -> bool:
                return await pull() == (digest, "hit")

            await eventually(hit)
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{admin}/metrics") as page:
                metrics = await page.text()
            assert "pullgate_blob_cache_usable 1.0" in metrics
            assert "pullgate_blob_cache_files 1.0" in metrics
            assert 'pullgate_blob_cache_removals_total{why="damaged"} 0.0' in metrics

            for name in ("blobs", "incoming"):
                assert stat.S_IMODE((home / "cache" / name).stat().st_mode) == 0o700, "its own user's alone"
            # Nor may the user itself, in another process, read its memory or take its sockets.
            for file in ("fd", "mem"):
                looked = [*unprivileged(home / "empty"), "head", "-c1", f"/proc/{running.process.pid}/{file}"]
                done = await asyncio.create_subprocess_exec(*looked, stderr=subprocess.PIPE)
                _, said = await done.communicate()
                assert b"Permission denied" in said
