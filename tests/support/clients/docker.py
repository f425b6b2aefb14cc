"""docker and its daemon, from Debian's docker.io."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from pathlib import Path
from typing import Self

from tests.support.clients.command import Pull, docker_config, host_of, run, stop, wait_for
from tests.support.tools import tool


class Docker:
    """`docker pull` by a dockerd of its own: own data, own socket, no network set-up."""

    name = "docker"

    def __init__(self) -> None:
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        directory = Path(
            self._stack.enter_context(
                tempfile.TemporaryDirectory(prefix="pullgate-docker-", ignore_cleanup_errors=True)
            )
        )
        self.socket = directory / "docker.sock"
        log = directory / "dockerd.log"
        options = [
            f"--data-root={directory / 'data'}",
            f"--exec-root={directory / 'exec'}",
            f"--pidfile={directory / 'docker.pid'}",
            f"--host=unix://{self.socket}",
            f"--config-file={directory / 'daemon.json'}",
            "--storage-driver=vfs",
            "--iptables=false",
            "--ip6tables=false",
            "--bridge=none",
            "--max-download-attempts=1",
        ]
        (directory / "daemon.json").write_text("{}")
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                tool("dockerd"), *options, stdout=out, stderr=out, start_new_session=True
            )
        self._stack.push_async_callback(stop, process)
        await wait_for(self.socket, process, log)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def pull(self, reference: str, username: str, password: str, directory: Path) -> Pull:
        """Pull without a trace of former pulls. docker keeps layers unpacked: it tells the digests that it verified."""
        login = docker_config(directory, host_of(reference), username, password)
        base: list[str | Path] = [tool("docker"), "--config", login.parent, "--host", f"unix://{self.socket}"]
        done = await run([*base, "pull", reference])
        if done.exit_code:
            return done
        shown = await run([*base, "image", "inspect", reference])
        document = json.loads(shown.output)[0]
        await run([*base, "image", "rm", "--force", document["Id"]])
        digests = [name.partition("@")[2] for name in document["RepoDigests"]]
        return Pull(0, done.output, dict.fromkeys([*digests, document["Id"]], 0))
