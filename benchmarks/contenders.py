"""Everything that is measured, running side by side."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.seed import Seeded, seed
from benchmarks.servers import (
    MEASURED_CORE,
    OTHER_CORE,
    Server,
    find,
    free_port,
    nginx_config,
    python,
    registry_config,
    start,
)
from pullgate.licensing.keys import new_key

MANY = 100_000
FEW = 10


@dataclass(frozen=True, slots=True)
class Contender:
    """A server, and how a client asks it for the seeded image."""

    server: Server
    prefix: str
    """/v2/… of the repository."""
    authorization: str
    keys: tuple[str, ...] = ()
    """Keys of licenses that may be revoked."""
    control: str = ""
    """Base URL of revocations: a GET of `/NUMBER` below it revokes that license."""

    def url(self, end: str) -> str:
        """The URL of manifests/… or blobs/…"""
        return f"{self.server.url}{self.prefix}/{end}"


def basic(user: str, password: str) -> str:
    """A Basic Authorization header's value."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@dataclass(slots=True)
class Stage:
    """Starts contenders."""

    directory: Path
    stack: contextlib.ExitStack
    seeded: Seeded

    def pullgate(self, name: str, *, licenses: int = FEW, **settings: object) -> Contender:
        """Pullgate over a store in memory; `settings` are those of the proxy."""
        port, admin, control = free_port(), free_port(), free_port()
        keys = tuple(new_key() for _ in range(min(licenses, 200)))
        upstream = {
            "host": self.seeded.host,
            "username": self.seeded.username,
            "password": self.seeded.password,
        }
        config = self.directory / f"pullgate-{port}.json"
        document = {"port": port, "admin_port": admin, "control_port": control, "licenses": licenses, "keys": keys}
        config.write_text(json.dumps({**document, "upstream": upstream, "settings": settings}))
        server = self.stack.enter_context(
            start(
                name,
                MEASURED_CORE,
                [python(), "-m", "benchmarks.serve", str(config)],
                f"http://127.0.0.1:{port}",
                self.directory / f"pullgate-{port}.log",
                f"http://127.0.0.1:{admin}",
            )
        )
        login = basic("customer", keys[0])
        return Contender(
            server, "/v2/proxy/my-app/upstream/my-org/api", login, keys, f"http://127.0.0.1:{control}/revoke"
        )

    def nginx(self) -> tuple[Contender, Contender, str]:
        """A reverse proxy, the same with a cache, and the URL of static files; one worker is all three."""
        ports = free_port(), free_port()
        vendor = basic(self.seeded.username, self.seeded.password)
        static = self.seeded.layer.file.parent
        config = nginx_config(self.directory / "nginx", ports, self.seeded.host, vendor, static)
        command = [find("nginx"), "-c", str(config)]
        log = self.directory / "nginx.log"
        base = f"http://127.0.0.1:{ports[0]}"
        server = self.stack.enter_context(start("nginx", MEASURED_CORE, command, base, log))
        cached = Server("nginx proxy_cache", f"http://127.0.0.1:{ports[1]}", server.process)
        return Contender(server, "/v2/my-org/api", ""), Contender(cached, "/v2/my-org/api", ""), f"{base}/static"

    def mirror(self, *, login: bool) -> Contender:
        """distribution as a mirror, which keeps what it fetched; with or without a login of its own (bcrypt)."""
        name, port = f"mirror-{'login' if login else 'open'}", free_port()
        htpasswd = None
        if login:
            made = subprocess.run([find("htpasswd"), "-Bbn", "customer", "secret"], capture_output=True, check=True)
            htpasswd = self.directory / "htpasswd"
            htpasswd.write_bytes(made.stdout)
        config = registry_config(self.directory / name, port, self.seeded.host, htpasswd)
        command = ["env", "GOMAXPROCS=1", find("docker-registry"), "serve", str(config)]
        base, log = f"http://127.0.0.1:{port}", self.directory / f"{name}.log"
        server = self.stack.enter_context(start(name, MEASURED_CORE, command, base, log))
        return Contender(server, "/v2/my-org/api", basic("customer", "secret") if login else "")


@contextlib.contextmanager
def staged(directory: Path, rounds: int) -> Iterator[Stage]:
    """The upstream, seeded: a real docker-registry without a login (bcrypt would hide the rest)."""
    with contextlib.ExitStack() as stack:
        port = free_port()
        config = registry_config(directory / "upstream", port, None)
        command = [find("docker-registry"), "serve", str(config)]
        stack.enter_context(start("upstream", OTHER_CORE, command, f"http://127.0.0.1:{port}", directory / "u.log"))
        yield Stage(directory, stack, seed(f"127.0.0.1:{port}", directory / "static", rounds))
