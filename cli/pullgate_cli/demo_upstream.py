"""The demo's private upstream: a real docker-registry on loopback, behind a password, with one image in it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import io
import json
import secrets
import shutil
import socket
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

USER = "vendor"
READY_SECONDS = 15.0
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


class DemoUnavailable(Exception):
    """The demo's upstream cannot run here; the message says what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class DemoUpstream:
    """A running upstream."""

    host: str
    """127.0.0.1:PORT"""
    username: str
    password: str = field(repr=False)


@contextlib.asynccontextmanager
async def run_upstream(directory: Path) -> AsyncIterator[DemoUpstream]:
    """Start the registry with its data in `directory`; it ends with the context. Raises DemoUnavailable."""
    password = secrets.token_urlsafe(18)
    port = _free_port()
    config = await asyncio.to_thread(_write_config, directory, port)
    await _write_htpasswd(directory / "htpasswd", password)
    with (directory / "registry.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            _tool("docker-registry"), "serve", str(config), stdout=log, stderr=log, start_new_session=True
        )
    upstream = DemoUpstream(f"127.0.0.1:{port}", USER, password)
    try:
        await _wait_until_ready(upstream, process, directory)
        yield upstream
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def push_image(upstream: DemoUpstream, repository: str, tag: str, text: str) -> str:
    """Push an image whose one file holds `text`; returns its digest."""
    layer = gzip.compress(_tar("hello.txt", text.encode()), mtime=0)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"org.opencontainers.image.title": "Pullgate demo"}},
            "rootfs": {"type": "layers", "diff_ids": [_digest(gzip.decompress(layer))]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
        }
    ).encode()
    auth = aiohttp.BasicAuth(upstream.username, upstream.password)
    base = f"http://{upstream.host}/v2/{repository}"
    async with aiohttp.ClientSession(auth=auth, raise_for_status=True) as session:
        for blob in (layer, config):
            async with session.post(f"{base}/blobs/uploads/") as started:
                location = started.headers["Location"]
            query = "&" if "?" in location else "?"
            async with session.put(f"{location}{query}digest={_digest(blob)}", data=blob):
                pass
        async with session.put(f"{base}/manifests/{tag}", data=manifest, headers={"Content-Type": MANIFEST_TYPE}):
            pass
    return _digest(manifest)


def _write_config(directory: Path, port: int) -> Path:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    config = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": secrets.token_hex(16)},
        "auth": {"htpasswd": {"realm": "demo", "path": str(directory / "htpasswd")}},
    }
    path = directory / "registry.json"
    path.write_text(json.dumps(config))  # JSON is YAML
    return path


async def _write_htpasswd(path: Path, password: str) -> None:
    """bcrypt, the only hash that the registry takes; the password goes by standard input."""
    process = await asyncio.create_subprocess_exec(
        _tool("htpasswd"), "-inB", USER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    line, _ = await process.communicate(password.encode())
    await asyncio.to_thread(path.write_bytes, line)


async def _wait_until_ready(upstream: DemoUpstream, process: asyncio.subprocess.Process, directory: Path) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_SECONDS), aiohttp.ClientSession() as session:
            while process.returncode is None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://{upstream.host}/v2/") as response:
                        if response.status == 401:
                            return
                await asyncio.sleep(0.05)
    raise DemoUnavailable(f"the demo's docker-registry did not start; see {directory / 'registry.log'}")


def _tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        package = {"htpasswd": "apache2-utils"}.get(name, name)
        raise DemoUnavailable(f"{name} is not installed; on Debian: apt-get install {package}")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tar(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}
