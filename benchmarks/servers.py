"""The servers that are compared, each a process on core 0; upstream and load share core 1."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MEASURED_CORE = "0"
OTHER_CORE = "1"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    name: str
    url: str
    """http://127.0.0.1:PORT"""
    process: subprocess.Popen[bytes]
    admin_url: str = ""

    @property
    def pids(self) -> list[int]:
        """The process and its children (nginx's worker does the work)."""
        children = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        return [self.process.pid, *map(int, children)]

    def resident_peak(self) -> int:
        """The highest resident memory of the largest process so far, in bytes (VmHWM)."""
        return max(_status(pid, "VmHWM") for pid in self.pids) * 1024

    def resident(self) -> int:
        """The resident memory of the largest process now, in bytes (VmRSS)."""
        return max(_status(pid, "VmRSS") for pid in self.pids) * 1024

    def cpu_seconds(self) -> float:
        """Processor time spent so far."""
        ticks = 0
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / 100


def _status(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find(name: str) -> str:
    """The path of a program that the benchmark needs."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")
    if found is None:
        raise SystemExit(f"{name} is missing; on Debian: apt-get install nginx-light wrk docker-registry curl")
    return found


@contextlib.contextmanager
def start(name: str, core: str, command: list[str], url: str, log: Path, admin_url: str = "") -> Iterator[Server]:
    """Run `command` on `core` until the context ends; wait until it answers anything."""
    with log.open("wb") as out:
        process = subprocess.Popen(["taskset", "-c", core, *command], stdout=out, stderr=out)
    try:
        _wait(admin_url + "/readyz" if admin_url else url + "/v2/", process, log, exact=bool(admin_url))
        yield Server(name, url, process, admin_url)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path, *, exact: bool) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.HTTPError:
            if not exact:
                return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.05)
    raise SystemExit(f"{' '.join(map(str, process.args))} did not start: {log.read_text()[-2000:]}")  # type: ignore[arg-type]


def registry_config(directory: Path, port: int, mirror_of: str | None, htpasswd: Path | None = None) -> Path:
    """A docker-registry's configuration (JSON is YAML)."""
    config: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(directory)},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": {"addr": f"127.0.0.1:{port}", "secret": "bench"},
    }
    if mirror_of:
        config["proxy"] = {"remoteurl": f"http://{mirror_of}"}
    if htpasswd:
        config["auth"] = {"htpasswd": {"realm": "bench", "path": str(htpasswd)}}
    path = directory.parent / f"{directory.name}.json"
    path.write_text(json.dumps(config))
    directory.mkdir(parents=True, exist_ok=True)
    return path


def nginx_config(directory: Path, ports: tuple[int, int], upstream_host: str, authorization: str, static: Path) -> Path:
    """nginx as the peer: a reverse proxy that replaces the Authorization header, and a static file; the second port

    is the same with a cache.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "nginx.conf"
    path.write_text(
        f"""
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
daemon off;
events {{ worker_connections 4096; }}
http {{
  access_log {directory}/access.log;
  client_body_temp_path {directory}/a; proxy_temp_path {directory}/b; fastcgi_temp_path {directory}/c;
  uwsgi_temp_path {directory}/d; scgi_temp_path {directory}/e;
  sendfile on; keepalive_requests 1000000; default_type application/octet-stream;
  upstream registry {{ server {upstream_host}; keepalive 64; keepalive_requests 1000000; }}
  proxy_cache_path {directory}/cache keys_zone=one:10m max_size=10g;
  server {{
    listen 127.0.0.1:{ports[1]} backlog=4096;
    location /v2/ {{
      proxy_pass http://registry; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $http_host; proxy_set_header Authorization "{authorization}";
      proxy_cache one; proxy_cache_valid 200 1h; proxy_cache_key $request_method$uri$http_accept;
      proxy_ignore_headers Cache-Control Expires Vary;
    }}
  }}
  server {{
    listen 127.0.0.1:{ports[0]} backlog=4096;
    location /v2/ {{
      proxy_pass http://registry; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $http_host; proxy_set_header Authorization "{authorization}";
      proxy_max_temp_file_size 0;
    }}
    location /static/ {{ alias {static}/; }}
  }}
}}
"""
    )
    return path


def python() -> str:
    """This environment's interpreter."""
    return sys.executable
