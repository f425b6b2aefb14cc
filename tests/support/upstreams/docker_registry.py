"""A real docker-registry (distribution 2.8.2, Debian's package) as a process on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import aiohttp

from pullgate.tls_context import build_client_context
from tests.support.canaries import canary
from tests.support.images import Image, referrers_index, referrers_tag
from tests.support.ports import free_port
from tests.support.push import push_image
from tests.support.tls import Authority
from tests.support.upstreams.token_server import ISSUER, SERVICE, TokenServer

Auth = Literal["none", "basic", "token"]

READY_SECONDS = 30.0
# bcrypt at its lowest cost, so that a test spends no time on it (the registry takes no other hash).
PASSWORD = canary("CANARY-upstream")
PASSWORD_HASH = "$2y$04$7fqMIQXVAfNWeSCR/Ci7kOBi9kzKMYk9pjvcl1/gCsa2X4Cm8wPEO"


class RegistryDidNotStart(Exception):
    """The message holds the end of its log."""


class DockerRegistry:
    """A registry with storage of its own that is gone afterwards; deleting is enabled.

    auth: "none", "basic" (htpasswd) or "token" (its own TokenServer, at `tokens`). With an `authority` it speaks TLS.
    Without a `port` it takes one that is free.
    """

    def __init__(
        self, auth: Auth = "none", *, bind: str = "127.0.0.1", port: int = 0, authority: Authority | None = None
    ) -> None:
        self.auth: Auth = auth
        self.bind = bind
        self._port, self._authority = port, authority
        self.host = ""
        """host:port, once it is started."""
        self.username = "" if auth == "none" else "puller"
        self.password = "" if auth == "none" else PASSWORD
        self.tokens = TokenServer(self.username, self.password, bind=bind) if auth == "token" else None
        self._stack = contextlib.AsyncExitStack()

    @property
    def url(self) -> str:
        """http(s)://host:port"""
        return f"{'https' if self._authority else 'http'}://{self.host}"

    @property
    def log(self) -> str:
        """The registry's log so far."""
        return (self._directory / "registry.log").read_text(errors="replace")

    async def __aenter__(self) -> DockerRegistry:
        async with contextlib.AsyncExitStack() as stack:
            temporary = tempfile.TemporaryDirectory(prefix="pullgate-registry-", ignore_cleanup_errors=True)
            self._directory = Path(stack.enter_context(temporary))
            if self.tokens is not None:
                await stack.enter_async_context(self.tokens)
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def push(self, repository: str, tag: str | None, image: Image) -> str:
        """Push an image, index, chart or artifact; untagged where `tag` is None. Returns its digest. PushRefused."""
        async with self._session(headers=self._authorization(repository)) as session:
            return await push_image(session, self.url, repository, tag, image)

    async def push_referrers(self, repository: str, subject: Image, referrers: Sequence[Image]) -> str:
        """Push `referrers` untagged, and the fallback tag that lists them: distribution 2.8 has no referrers API."""
        return await self.push(repository, referrers_tag(subject.digest), referrers_index(referrers))

    async def delete(self, repository: str, digest: str) -> None:
        """Delete a manifest, and with it the tags that point to it."""
        headers = self._authorization(repository)
        url = f"{self.url}/v2/{repository}/manifests/{digest}"
        async with self._session(headers=headers, raise_for_status=True) as session, session.delete(url):
            pass

    def _session(self, **options: Any) -> aiohttp.ClientSession:
        trusted = build_client_context(self._authority.pem) if self._authority else True
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted), **options)

    def _authorization(self, repository: str) -> dict[str, str]:
        if self.tokens is not None:
            token = self.tokens.issue((f"repository:{repository}:pull,push,delete",))
            return {"Authorization": f"Bearer {token}"}
        if self.auth == "basic":
            return {"Authorization": aiohttp.encode_basic_auth(self.username, self.password)}
        return {}

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        for _ in range(5):
            self.host = f"{self.bind}:{self._port or free_port(self.bind)}"
            process = self._spawn()
            stack.callback(_end, process)
            if await self._is_ready(process):
                return
        raise RegistryDidNotStart(self.log[-2000:])

    def _spawn(self) -> subprocess.Popen[bytes]:
        config = self._directory / "config.json"
        config.write_text(json.dumps(self._config()))  # JSON is YAML
        command = [_tool("docker-registry"), "serve", str(config)]
        if setpriv := shutil.which("setpriv"):
            # The kernel ends the registry should the tests be killed.
            command = [setpriv, "--pdeathsig", "TERM", *command]
        with (self._directory / "registry.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _config(self) -> dict[str, object]:
        config: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {
                "filesystem": {"rootdirectory": str(self._directory / "data")},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": self.host, "secret": "the same after a restart"},
        }
        if self._authority is not None:
            certificate, key = self._authority.write_pair(self._directory, [self.bind])
            http = {"addr": self.host, "tls": {"certificate": str(certificate), "key": str(key)}}
            config["http"] = http | {"secret": "the same after a restart"}
        if self.tokens is not None:
            bundle = self._directory / "root.pem"
            self.tokens.write_root_certificate(bundle)
            token = {"realm": self.tokens.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(bundle)}
            config["auth"] = {"token": token}
        elif self.auth == "basic":
            htpasswd = self._directory / "htpasswd"
            htpasswd.write_text(f"{self.username}:{PASSWORD_HASH}\n")
            config["auth"] = {"htpasswd": {"realm": "pullgate-test", "path": str(htpasswd)}}
        return config

    async def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """False if the process ended (most likely another one took the port)."""
        expected = 200 if self.auth == "none" else 401
        deadline = time.monotonic() + READY_SECONDS
        async with self._session() as session:
            while process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{self.url}/v2/") as response:
                        if response.status == expected and process.poll() is None:
                            return True
                await asyncio.sleep(0.02)
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tool(name: str) -> str:
    found = shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin")
    if found is None:
        raise RegistryDidNotStart(f"{name} is not installed: `make tools` installs what the tests need")
    return found
