"""What is pulled in a benchmark: one small manifest, a 64 MiB and a 512 MiB blob of bytes that do not compress."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
MEDIUM = 64 * 2**20
LARGE = 512 * 2**20


@dataclass(frozen=True, slots=True)
class Seeded:
    """The upstream and what lies in its repository my-org/api."""

    host: str
    username: str
    password: str
    static: Path
    """The blobs as plain files, named by their digest's hexadecimal part."""
    manifest: str
    medium: str
    medium_size: int
    large: str
    large_size: int


def seed(host: str, username: str, password: str, static: Path) -> Seeded:
    """Push everything; returns the digests."""
    static.mkdir(parents=True)
    static.chmod(0o755)
    for parent in static.parents[:1]:
        parent.chmod(0o755)
    login = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
    base = f"http://{host}/v2/my-org/api"
    blobs = {}
    for name, size in (("medium", MEDIUM), ("large", LARGE)):
        source = random.Random(name)
        data = b"".join(source.randbytes(2**20) for _ in range(size // 2**20))
        blobs[name] = _push_blob(base, login, data)
        (static / blobs[name].partition(":")[2]).write_bytes(data)
    config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
    layers = [("medium", MEDIUM), ("large", LARGE)]
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(
                "application/vnd.oci.image.config.v1+json", _push_blob(base, login, config), len(config)
            ),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", blobs[n], size) for n, size in layers],
        }
    ).encode()
    _send("PUT", f"{base}/manifests/1.0.0", login, manifest, MANIFEST_TYPE)
    digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
    return Seeded(host, username, password, static, digest, blobs["medium"], MEDIUM, blobs["large"], LARGE)


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _push_blob(base: str, login: str, data: bytes) -> str:
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    location = urljoin(base, _send("POST", f"{base}/blobs/uploads/", login, b"", "application/octet-stream"))
    _send("PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}", login, data, "application/octet-stream")
    return digest


def _send(method: str, url: str, login: str, data: bytes, media_type: str) -> str:
    headers = {"Authorization": login, "Content-Type": media_type}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=120) as response:
        return str(response.headers.get("Location", ""))
