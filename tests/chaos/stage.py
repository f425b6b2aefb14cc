"""What chaos is made on: a real registry, links around the proxy, the proxy as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from tests.chaos.links import Link
from tests.chaos.loader import Loader
from tests.support.canaries import FOUND, look, require_none, search_product_files
from tests.support.gate import APP, license_, registry, secret
from tests.support.images import Image, image
from tests.support.ports import free_port
from tests.support.tls import Authority
from tests.support.upstreams import DockerRegistry

READY_SECONDS: Final = 30.0
NAME: Final = "upstream.chaos.example"
"""The upstream's name in the process' own /etc/hosts."""


class NotReady(Exception):
    """A process did not become ready; the message holds the end of what it said."""


class Process:
    """One `pullgate standalone`, killed and started at will."""

    def __init__(
        self,
        folder: Path,
        port: int,
        options: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        wrap: Sequence[str] = (),
        files: int | None = None,
    ) -> None:
        """`wrap` stands before the command; `files` is the limit of its descriptors."""
        self.folder, self.port, self._options, self._env = folder, port, options, env or {}
        self._wrap, self._files = wrap, files
        self.admin = free_port()
        self.log = folder.with_name(f"{folder.name}-{port}.log")
        self._process: subprocess.Popen[bytes] | None = None

    def limited_to(self, files: int) -> Process:
        """The same with so many descriptors."""
        return Process(self.folder, self.port, self._options, env=self._env, wrap=self._wrap, files=files)

    def with_clock(self, file: Path) -> Process:
        """The same with the time that `file` says, in the words of faketime."""
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        env = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        return Process(self.folder, self.port, self._options, env=env, wrap=self._wrap)

    async def start(self) -> None:
        """Until it is ready. Raises NotReady."""
        await asyncio.to_thread(self._spawn)
        end = time.monotonic() + READY_SECONDS
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < end:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{self.admin}/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.05)
        raise NotReady(self.log.read_text()[-2000:])

    def _spawn(self) -> None:
        addresses = ["--listen", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{self.admin}", "--log-format", "json"]
        limit = ["prlimit", f"--nofile={self._files}"] if self._files is not None else []
        command = [
            *limit,
            *self._wrap,
            sys.executable,
            "-m",
            "pullgate_cli",
            "standalone",
            str(self.folder),
            *addresses,
        ]

        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *addresses, "--drain-seconds", "5", *self._options],
                stdout=log,
                stderr=log,
                env={**os.environ, **self._env},
            )

    @property
    def pid(self) -> int:
        """Of the process, while it runs."""
        return self._process.pid if self._process is not None else 0

    def send(self, number: int) -> None:
        """Send a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    async def end(self, number: int = signal.SIGTERM) -> None:
        """End it and wait."""
        if self._process is not None:
            await self._look_at_metrics()
            self.send(number)
            await asyncio.to_thread(self._process.wait, 30)
            self._process = None
            look(f"output of the proxy, {self.log.name}", await asyncio.to_thread(self.log.read_bytes))
            FOUND.extend(await asyncio.to_thread(search_product_files, self.folder))

    async def _look_at_metrics(self) -> None:
        """As far as it still answers."""
        timeout = aiohttp.ClientTimeout(total=2)
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with aiohttp.ClientSession(timeout=timeout) as session:
                async with session.get(f"http://127.0.0.1:{self.admin}/metrics") as got:
                    look("/metrics", await got.read())


class Stage:
    """The parts. `upstream` and `client` are the links before and behind the proxy."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.folder = directory / "folder"
        self.authority = Authority()
        self.images: dict[tuple[str, str], Image] = {}
        self.upstream: Link
        self.secure: Link
        """The upstream by TLS."""
        self.client: Link
        self.proxy: Process
        self.hosts = directory / "hosts"
        self.certificate = directory / "link-tls"

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[Stage]:
        """Everything runs."""
        async with contextlib.AsyncExitStack() as stack:
            real = await stack.enter_async_context(DockerRegistry("basic"))
            for number, size in enumerate((4_000, 300_000, 2_000_000)):
                made = image(f"chaos-{number}", layers=2, layer_size=size)
                self.images[f"my-org/image-{number}", "1"] = made
                await real.push(f"my-org/image-{number}", "1", made)
            self.upstream = await stack.enter_async_context(Link(real.host))
            self.tls_context = self.authority.server()
            self.secure = await stack.enter_async_context(Link(real.host, self.tls_context))
            self._write(real)
            port = free_port()
            self.proxy = Process(self.folder, port, wrap=self._with_own_hosts())
            stack.push_async_callback(self._end_proxy)
            await self.proxy.start()
            self.client = await stack.enter_async_context(Link(f"127.0.0.1:{port}"))
            await self._until_it_pulls()
            yield self

    async def _until_it_pulls(self) -> None:
        """The License's key is known a moment after its Secret is written."""
        end = time.monotonic() + READY_SECONDS
        secret = self.folder / ".pullgate" / "secrets" / APP / "acme-pull.yaml"
        while not await asyncio.to_thread(secret.exists) and time.monotonic() < end:
            await asyncio.sleep(0.05)
        while (await self.loader().pull_each()).failed and time.monotonic() < end:
            pass

    async def _end_proxy(self) -> None:
        await self.proxy.end(signal.SIGKILL)
        require_none("chaos")

    def _write(self, real: DockerRegistry) -> None:
        self.folder.mkdir()
        self.hosts.write_text(f"127.0.0.1 localhost {NAME}\n")
        cache = {"blobs": False, "tagTTL": "0s", "staleIfError": "0s"}
        network = {"allowPrivate": True}
        documents: list[dict[str, Any]] = [
            secret("robot", real.username, real.password),
            registry("upstream", self.upstream.host, secret="robot", cache=cache, network=network),
            registry("named", f"{NAME}:{self.upstream.port}", secret="robot", cache=cache, network=network),
            registry(
                "secure",
                self.secure.host,
                secret="robot",
                cache=cache,
                network=network,
                plain_http=False,
                tls={"caSecretRef": {"name": "ca"}},
            ),
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "ca", "namespace": APP},
                "stringData": {"ca.crt": self.authority.pem},
            },
            license_("acme"),
        ]
        (self.folder / "all.yaml").write_text(yaml.safe_dump_all(documents))

    def _with_own_hosts(self) -> list[str]:
        """A mount namespace in which /etc/hosts is ours."""
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(self.hosts)]

    @property
    def key(self) -> str:
        """The License's key."""
        path = self.folder / ".pullgate" / "secrets" / APP / "acme-pull.yaml"
        config = json.loads(yaml.safe_load(path.read_text())["stringData"][".dockerconfigjson"])
        return str(next(iter(config["auths"].values()))["password"])

    def loader(self, name: str = "upstream", *, base: str = "", workers: int = 8) -> Loader:
        """Clients of the Registry `name`, through the client's link unless `base` says otherwise."""
        return Loader(base or f"http://{self.client.host}", f"proxy/{APP}/{name}", self.key, self.images, workers)

    @contextlib.asynccontextmanager
    async def replicas(self) -> AsyncIterator[tuple[str, list[Process]]]:
        """Two proxies with the same keys behind nginx: its URL, and the proxies."""
        processes = []
        async with contextlib.AsyncExitStack() as stack:
            for number in range(2):
                folder = self.directory / f"replica-{number}"
                shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("lock"))
                process = Process(folder, free_port())
                stack.push_async_callback(process.end, signal.SIGKILL)
                await process.start()
                processes.append(process)
            port = free_port()
            config = self.directory / "nginx.conf"
            config.write_text(
                _NGINX.format(
                    directory=self.directory,
                    port=port,
                    servers="".join(f"server 127.0.0.1:{p.port} max_fails=1 fail_timeout=1s; " for p in processes),
                )
            )
            nginx = await asyncio.to_thread(
                subprocess.Popen, [_tool("nginx"), "-c", str(config), "-e", str(self.directory / "nginx.log")]
            )
            stack.callback(nginx.wait)
            stack.callback(nginx.terminate)
            await _until_listening(port)
            yield f"http://127.0.0.1:{port}", processes


async def _until_listening(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            (await asyncio.open_connection("127.0.0.1", port))[1].close()
            return
        await asyncio.sleep(0.05)
    raise NotReady("nginx does not listen")


def _tool(name: str) -> str:
    found = shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin")
    if found is None:
        raise NotReady(f"{name} is not installed: `make tools` installs what the tests need")
    return found


_NGINX = """\
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/nginx.log warn;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {directory}/n1; proxy_temp_path {directory}/n2;
  fastcgi_temp_path {directory}/n3; uwsgi_temp_path {directory}/n4; scgi_temp_path {directory}/n5;
  upstream pullgate {{ {servers} }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://pullgate; proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_buffering off;
      proxy_next_upstream error timeout http_503; proxy_next_upstream_tries 2; proxy_connect_timeout 1s;
    }}
  }}
}}
"""
