"""containerd and ctr: Debian's 1.6, and 2.4 built from source."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
from pathlib import Path
from typing import Literal, Self

from tests.support.clients.command import Pull, files_below, hashed, run, stop, wait_for
from tests.support.tools import tool

CONFIG = """\
version = {version}
root = "{directory}/root"
state = "{directory}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "{directory}/containerd.sock"
[ttrpc]
  address = "{directory}/ttrpc.sock"
[debug]
  level = "warn"
"""


class Containerd:
    """`ctr images pull` by a containerd of its own. Each pull has its own namespace and so no trace of former ones."""

    def __init__(self, version: Literal["1.6", "2.4"]) -> None:
        self.name = f"containerd {version}"
        self._new = version == "2.4"
        self._numbers = itertools.count()
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="pullgate-containerd-")))
        config = self._directory / "config.toml"
        config.write_text(CONFIG.format(version=3 if self._new else 2, directory=self._directory))
        log = self._directory / "containerd.log"
        daemon = tool("containerd-2" if self._new else "containerd")
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                daemon, "--config", str(config), stdout=out, stderr=out, start_new_session=True
            )
        self._stack.push_async_callback(stop, process)
        await wait_for(self._directory / "containerd.sock", process, log)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def pull(
        self, reference: str, username: str, password: str, directory: Path, hosts: Path | None = None
    ) -> Pull:
        """Pull; with a `hosts` directory (hosts.toml) as a node with that mirror would."""
        directory.mkdir(parents=True, exist_ok=True)
        before = set(self._blobs())
        base: list[str | Path] = [
            tool("ctr-2" if self._new else "ctr"),
            "--address",
            self._directory / "containerd.sock",
        ]
        base += ["--namespace", f"pull-{next(self._numbers)}", "--timeout", "60s"]
        options: list[str | Path] = ["--hosts-dir", hosts] if hosts else ["--plain-http"]
        options += ["--user", f"{username}:{password}"] if username else []
        options += ["--local"] if self._new else []
        done = await run([*base, "images", "pull", "--snapshotter", "native", *options, reference])
        contents = hashed([path for path in self._blobs() if path not in before or done.exit_code == 0])
        await run([*base, "images", "rm", "--sync", reference])
        return Pull(done.exit_code, _last_words(done.output), contents)

    def _blobs(self) -> list[Path]:
        return files_below(self._directory / "root" / "io.containerd.content.v1.content" / "blobs")


def _last_words(output: str) -> str:
    """ctr redraws its progress; what stays on the screen is its error."""
    lines = [line for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ctr:") or "level=" in line]
    return "\n".join(dict.fromkeys(errors or lines[-3:]))
