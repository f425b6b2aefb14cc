"""The content pulled in a benchmark: one small manifest, and large blobs of incompressible bytes."""

from __future__ import annotations

import hashlib
import json
import random
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
LARGE = 512 * 2**20
LAYER = 1024 * 2**20


@dataclass(frozen=True, slots=True)
class Blob:
    """One blob, at the upstream and as a plain file."""

    digest: str
    size: int
    file: Path


@dataclass(frozen=True, slots=True)
class Seeded:
    """The upstream and what lies in its repository my-org/api."""

    host: str
    username: str
    password: str
    manifest: str
    """Digest of the image 1.0.0."""
    large: tuple[Blob, ...]
    """512 MiB each: a fresh one for each round, since it is kept afterwards."""
    layer: Blob
    """1 GiB."""


def seed(host: str, static: Path, rounds: int) -> Seeded:
    """Push everything; the upstream asks for no login."""
    static.mkdir(parents=True)
    static.chmod(0o755)
    for parent in static.parents[:1]:
        parent.chmod(0o755)
    base = f"http://{host}/v2/my-org/api"
    large = tuple(_push_noise(base, f"large {number}", LARGE, static) for number in range(rounds))
    layer = _push_noise(base, "layer", LAYER, static)
    config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor("application/vnd.oci.image.config.v1+json", _push_blob(base, config), len(config)),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", blob.digest, blob.size) for blob in large],
        }
    ).encode()
    _send("PUT", f"{base}/manifests/1.0.0", manifest, MANIFEST_TYPE)
    digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
    return Seeded(host, "vendor", "bench-upstream", digest, large, layer)


def _push_noise(base: str, name: str, size: int, static: Path) -> Blob:
    source = random.Random(name)
    data = b"".join(source.randbytes(2**20) for _ in range(size // 2**20))
    digest = _push_blob(base, data)
    file = static / digest.partition(":")[2]
    file.write_bytes(data)
    return Blob(digest, size, file)


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _push_blob(base: str, data: bytes) -> str:
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    location = urljoin(base, _send("POST", f"{base}/blobs/uploads/", b"", "application/octet-stream"))
    _send("PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}", data, "application/octet-stream")
    return digest


def _send(method: str, url: str, data: bytes, media_type: str) -> str:
    headers = {"Content-Type": media_type}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=120) as response:
        return str(response.headers.get("Location", ""))
