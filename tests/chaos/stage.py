"""The chaos stage: a real registry, links around the proxy, the proxy as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.chaos.links import Link
from tests.chaos.loader import Load, Loader
from tests.support import tracebacks
from tests.support.canaries import FOUND, Finding, look, require_none, search_product_files, search_tree
from tests.support.gate import APP, license_, registry, secret
from tests.support.images import Image, image
from tests.support.ports import free_port
from tests.support.tls import Authority
from tests.support.upstreams import DockerRegistry

READY_SECONDS: Final = 30.0
NAME: Final = "upstream.chaos.example"
"""The upstream's name in the process' own /etc/hosts."""
CACHE_SIZE: Final = "4Mi"
"""Less than all blobs need, but twice the largest fits: each blob is cached, and evicted soon."""
WORKERS: Final = 8
"""Clients at once."""
STANDALONE: Final = ("pullgate_cli", "standalone", "--private-networks", "127.0.0.0/8")


T = TypeVar("T")


class NotReady(Exception):
    """A process did not become ready; the message holds the end of its log."""


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
        module: Sequence[str] = STANDALONE,
        cache: Path | None = None,
    ) -> None:
        """`wrap` stands before the command, `module` is what Python runs, `cache` the directory of its blobs."""
        self.folder, self.port, self._options, self._env = folder, port, options, env or {}
        self._wrap, self._module, self.cache_path = wrap, module, cache
        self.admin = free_port()
        self.log = folder.with_name(f"{folder.name}-{port}.log")
        tracebacks.watch(self.log)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def base(self) -> str:
        """Its URL, past the client's link."""
        return f"{'https' if '--tls-cert' in self._options else 'http'}://127.0.0.1:{self.port}"

    @property
    def cache(self) -> Path:
        """The directory of its blobs as the process itself sees it, with what is mounted there for it alone."""
        return Path(f"/proc/{self.pid}/root{self.cache_path}")

    async def start(self) -> None:
        """Start it, and wait until it is ready. Raises NotReady."""
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
        module, *words = self._module
        command = [*self._wrap, sys.executable, "-m", module, *words, str(self.folder), *addresses]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--drain-seconds", "2", *self._options],
                stdout=log,
                stderr=log,
                env={**os.environ, **self._env},
            )

    @property
    def pid(self) -> int:
        """The process id; 0 if the process does not run."""
        return self._process.pid if self._process is not None else 0

    def send(self, number: int) -> None:
        """Send a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    async def end(self, number: int = signal.SIGTERM) -> None:
        """End it and wait; then nothing that it left holds a secret."""
        if self._process is not None:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):  # as far as it still answers
                await self.metrics()
            FOUND.extend(await asyncio.to_thread(self._search_cache))
            self.send(number)
            await asyncio.to_thread(self._process.wait, 30)
            self._process = None
            look(f"output of the proxy, {self.log.name}", await asyncio.to_thread(self.log.read_bytes))
            FOUND.extend(await asyncio.to_thread(search_product_files, self.folder))

    def _search_cache(self) -> list[Finding]:
        """Search while it runs: its private mounts vanish when it ends."""
        found: list[Finding] = []
        for file in self.blobs() if self.cache_path is not None else ():
            with contextlib.suppress(FileNotFoundError):  # evicted just now
                found += search_tree(file)
        return found

    def blobs(self, place: str = "blobs") -> list[Path]:
        """The files below `place` in its cache."""
        found = []
        for folder, _, names in os.walk(self.cache / place):
            found += [Path(folder, name) for name in names]
        return found

    async def metrics(self) -> str:
        """The text of its /metrics. Raises aiohttp's errors and TimeoutError."""
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            async with session.get(f"http://127.0.0.1:{self.admin}/metrics") as got:
                text = await got.text()
        look("/metrics", text)
        return text

    async def counted(self, series: str, **labels: str) -> float:
        """The sum of a series' samples that have `labels`; all of it is 0 after a restart."""
        found = 0.0
        for family in text_string_to_metric_families(await self.metrics()):
            for sample in family.samples:
                if sample.name == series and labels.items() <= sample.labels.items():
                    found += sample.value
        return found


class Stage:
    """The parts. `upstream` and `client` are the links before and behind the proxy."""

    def __init__(self, directory: Path, workers: int = WORKERS, pause: float = 0.0) -> None:
        """`workers` clients pull at once, each with so many seconds between two images."""
        self.directory, self._workers, self._pause = directory, workers, pause
        self.folder = directory / "folder"
        self.authority = Authority()
        self.images: dict[tuple[str, str], Image] = {}
        self.upstream: Link
        self.secure: Link
        """The upstream by TLS."""
        self.client: Link
        self.proxy: Process
        """Keeps no blob, so that every fault is met."""
        self.cached: Process
        """Keeps blobs, and has not room for all."""
        self._stack: contextlib.AsyncExitStack
        self._lasting: dict[str, Any] = {}
        self.hosts = directory / "hosts"
        self.certificate = directory / "link-tls"

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[Stage]:
        """Everything runs."""
        async with contextlib.AsyncExitStack() as stack:
            self._stack = stack
            real = await stack.enter_async_context(DockerRegistry("basic"))
            for number, size in enumerate((4_000, 300_000, 2_000_000)):
                made = image(f"chaos-{number}", layers=2, layer_size=size)
                self.images[f"my-org/image-{number}", "1"] = made
                await real.push(f"my-org/image-{number}", "1", made)
            self.upstream = await stack.enter_async_context(Link(real.host))
            self.tls_context = self.authority.server()
            self.secure = await stack.enter_async_context(Link(real.host, self.tls_context))
            self._real = real
            self._write()
            self.proxy = Process(self.folder, free_port(), wrap=self._with_own_hosts())
            stack.callback(require_none, "chaos")
            stack.push_async_callback(self.proxy.end, signal.SIGKILL)
            await self.proxy.start()
            self.client = await stack.enter_async_context(Link(f"127.0.0.1:{self.proxy.port}"))
            await self._until_it_pulls()
            self.cached = self.caching("cached")
            stack.push_async_callback(self.cached.end, signal.SIGKILL)
            await self.cached.start()
            yield self

    async def _until_it_pulls(self) -> None:
        """The License's key is known a moment after its Secret is written."""
        end = time.monotonic() + READY_SECONDS
        secret = self.folder / ".pullgate" / "secrets" / APP / "acme-pull.yaml"
        while not await asyncio.to_thread(secret.exists) and time.monotonic() < end:
            await asyncio.sleep(0.05)
        while (await self.loader().pull_each()).failed and time.monotonic() < end:
            pass

    def _write(self) -> None:
        self.folder.mkdir()
        self.hosts.write_text(f"127.0.0.1 localhost {NAME}\n")
        self.write_resources(self.folder, blobs=False)

    def write_resources(self, folder: Path, *, blobs: bool, authority: Authority | None = None) -> None:
        """Write the proxy's resources. `blobs` turns the blob cache on; `authority` is the secure upstream's CA."""
        cache = {"blobs": blobs, "tagTTL": "0s", "staleIfError": "0s"}
        network = {"allowPrivate": True}
        trust = {"caSecretRef": {"name": "ca"}}
        same: dict[str, Any] = {"secret": "robot", "cache": cache, "network": network}
        documents: list[dict[str, Any]] = [
            secret("robot", self._real.username, self._real.password),
            registry("upstream", self.upstream.host, **same),
            registry("named", f"{NAME}:{self.upstream.port}", **same),
            registry("secure", self.secure.host, plain_http=False, tls=trust, **same),
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "ca", "namespace": APP},
                "stringData": {"ca.crt": (authority or self.authority).pem},
            },
            license_("acme"),
        ]
        new = folder / "all.new"
        new.write_text(yaml.safe_dump_all(documents))
        new.replace(folder / "all.yaml")

    async def lasting(self, name: str, make: Callable[[], AbstractAsyncContextManager[T]]) -> T:
        """The value of the context that `make` returns. The first caller opens it; the stage closes it at its end."""
        if name not in self._lasting:
            self._lasting[name] = await self._stack.enter_async_context(make())
        found: T = self._lasting[name]
        return found

    def copy(self, name: str, *, blobs: bool = False) -> Path:
        """A folder with the same resources and keys, for one more proxy."""
        folder = self.directory / name
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("lock"))
        self.write_resources(folder, blobs=blobs)
        return folder

    def plain(self, name: str, *options: str) -> Process:
        """One more proxy that keeps no blob."""
        return Process(self.copy(name), free_port(), options)

    def caching(self, name: str, *options: str, disk: str = "", **same: Any) -> Process:
        """A proxy that keeps blobs, in a directory of its own; `disk`: on a file system of that size of its own."""
        cache = self.directory / f"{name}-cache"
        cache.mkdir()
        wrap = _in_own_mounts('mount -t tmpfs -o size="$0" tmpfs "$1" && shift', disk, str(cache)) if disk else ()
        keeping = ["--blob-cache", str(cache), "--blob-cache-size", CACHE_SIZE, *options]
        return Process(self.copy(name, blobs=True), free_port(), keeping, wrap=wrap, cache=cache, **same)

    def _with_own_hosts(self) -> list[str]:
        return _in_own_mounts('mount --bind "$0" /etc/hosts', str(self.hosts))

    def with_few_descriptors(self, count: int) -> Process:
        """A proxy that may have so many."""
        return Process(self.copy("few"), free_port(), wrap=few_descriptors(count))

    def with_clock(self, file: Path) -> Process:
        """A proxy with the time that `file` says, in the words of faketime."""
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        env = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        return Process(self.copy("other-clock"), free_port(), env=env)

    @property
    def key(self) -> str:
        """The License's key."""
        path = self.folder / ".pullgate" / "secrets" / APP / "acme-pull.yaml"
        config = json.loads(yaml.safe_load(path.read_text())["stringData"][".dockerconfigjson"])
        return str(next(iter(config["auths"].values()))["password"])

    def loader(self, name: str = "upstream", *, base: str = "", trust: ssl.SSLContext | bool = True) -> Loader:
        """Clients of the Registry `name`, through the client's link unless `base` says otherwise."""
        prefix = f"proxy/{APP}/{name}"
        load = Load(self._workers, self._pause)
        return Loader(base or f"http://{self.client.host}", prefix, self.key, self.images, load, trust)

    @contextlib.asynccontextmanager
    async def replicas(self) -> AsyncIterator[tuple[str, list[Process]]]:
        """Two proxies with the same keys behind nginx: its URL, and the proxies."""
        processes = []
        async with contextlib.AsyncExitStack() as stack:
            for number in range(2):
                process = Process(self.copy(f"replica-{number}"), free_port())
                stack.push_async_callback(process.end, signal.SIGKILL)
                processes.append(process)
            await asyncio.gather(*(process.start() for process in processes))
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


def few_descriptors(count: int) -> list[str]:
    """The prefix for a command that limits it to `count` file descriptors."""
    return ["prlimit", f"--nofile={count}"]


def _in_own_mounts(script: str, *arguments: str) -> list[str]:
    """A mount namespace in which `script` changed something; `arguments` are its $0, $1 …"""
    # All but $0 stand before the command: a script that has them shifts them away.
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{script} && exec "$@"', *arguments]


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
