"""Small images, charts and artifacts, the same bytes for the same arguments, that real clients take."""

from __future__ import annotations

import base64
import gzip
import io
import json
import random
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.content import Noise, digest_of

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
EMPTY = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Flavour:
    """The media types that an image is written with."""

    manifest: str
    index: str
    config: str
    layer: str
    """A gzipped layer."""
    plain_layer: str


OCI = Flavour(
    manifest=OCI_MANIFEST,
    index=OCI_INDEX,
    config="application/vnd.oci.image.config.v1+json",
    layer="application/vnd.oci.image.layer.v1.tar+gzip",
    plain_layer="application/vnd.oci.image.layer.v1.tar",
)
DOCKER_SCHEMA2 = Flavour(
    manifest=DOCKER_MANIFEST,
    index=DOCKER_LIST,
    config="application/vnd.docker.container.image.v1+json",
    layer="application/vnd.docker.image.rootfs.diff.tar.gzip",
    plain_layer="application/vnd.docker.image.rootfs.diff.tar",
)


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest, or an index with the manifests that it names, and what they name in turn."""

    manifest: bytes = field(repr=False)
    media_type: str
    digest: str
    blobs: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """By digest: config and layers, or nothing for an index."""
    streams: Mapping[str, Noise] = field(default_factory=dict, repr=False)
    """By digest: layers too large for memory."""
    children: tuple[Image, ...] = ()
    """An index's manifests."""
    platform: str = "linux/amd64"
    """The platform that an index states for this image."""

    @property
    def descriptor(self) -> Json:
        """The descriptor of this manifest, for an index or a subject."""
        return descriptor(self.media_type, self.manifest)

    @property
    def document(self) -> Json:
        """The manifest, parsed."""
        parsed: Json = json.loads(self.manifest)
        return parsed

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers' digests in order."""
        return tuple(layer["digest"] for layer in self.document.get("layers", ()))

    @property
    def config(self) -> str:
        """The config's digest."""
        return str(self.document["config"]["digest"])

    def walk(self) -> Iterator[Image]:
        """Every manifest, what is named before what names it: the order to push in."""
        for child in self.children:
            yield from child.walk()
        yield self


def image(
    seed: str,
    layers: int = 2,
    layer_size: int = 1024,
    *,
    flavour: Flavour = OCI,
    architecture: str = "amd64",
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """A linux image of gzipped layers, each with one file of `layer_size` bytes that do not compress."""
    tars = [_layer_tar(f"{seed}/{number}", f"data/layer-{number}.bin", layer_size) for number in range(layers)]
    config = _config(seed, architecture, [digest_of(tar) for tar in tars])
    packed = [gzip.compress(tar, compresslevel=1, mtime=0) for tar in tars]
    manifest = _manifest(flavour, config, [descriptor(flavour.layer, layer) for layer in packed])
    if annotations:
        manifest["annotations"] = dict(annotations)
    blobs = {digest_of(blob): blob for blob in (config, *packed)}
    return _image(manifest, flavour.manifest, blobs=blobs, platform=f"linux/{architecture}")


def schema1(seed: str, name: str = "my-org/old", tag: str = "1") -> Image:
    """A signed image of Docker's schema 1, as distribution 2.x writes it; the signature itself is of nobody."""
    layer = gzip.compress(_layer_tar(seed, "data/layer.bin", 1024), compresslevel=1, mtime=0)
    document = {
        "schemaVersion": 1,
        "name": name,
        "tag": tag,
        "architecture": "amd64",
        "fsLayers": [{"blobSum": digest_of(layer)}],
        "history": [{"v1Compatibility": json.dumps({"id": seed, "os": "linux", "architecture": "amd64"})}],
    }
    payload = json.dumps(document, indent=3).encode()
    head = payload.removesuffix(b"\n}")
    protected = {"formatLength": len(head), "formatTail": _base64url(b"\n}"), "time": "2026-01-01T00:00:00Z"}
    signature = {
        "header": {"jwk": {"crv": "P-256", "kty": "EC"}, "alg": "ES256"},
        "signature": _base64url(b"signature"),
        "protected": _base64url(json.dumps(protected).encode()),
    }
    body = head + b',\n   "signatures": ' + json.dumps([signature], indent=3).encode() + b"\n}"
    return Image(body, SCHEMA1_SIGNED, digest_of(payload), {digest_of(layer): layer})


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def large_image(size: int, seed: str = "large", *, flavour: Flavour = OCI) -> Image:
    """An image with one plain layer, in `streams`: a file of `size` bytes that do not compress, made when read."""
    entry = tarfile.TarInfo("large.bin")
    entry.size = size
    layer = Noise(seed, size, head=entry.tobuf(), tail=bytes(-size % 512 + 1024))
    digest = layer.digest()
    config = _config(seed, "amd64", [digest])
    described = {"mediaType": flavour.plain_layer, "digest": digest, "size": layer.size}
    manifest = _manifest(flavour, config, [described])
    return _image(manifest, flavour.manifest, blobs={digest_of(config): config}, streams={digest: layer})


def runnable(seed: str, program: bytes) -> Image:
    """A linux image that runs: `program`, linked statically, is all that is in it."""
    layer = _tar({"program": program}, mode=0o755)
    config = _config(seed, "amd64", [digest_of(layer)], command=["/program"])
    packed = gzip.compress(layer, compresslevel=1, mtime=0)
    manifest = _manifest(OCI, config, [descriptor(OCI.layer, packed)])
    return _image(manifest, OCI.manifest, blobs={digest_of(blob): blob for blob in (config, packed)})


def oci_layout(image: Image, name: str) -> bytes:
    """A tar of an OCI image layout with `image`, which `ctr images import` takes in as `name`."""
    named = {**image.descriptor, "annotations": {"io.containerd.image.name": name}}
    blobs = {digest: blob for manifest in image.walk() for digest, blob in manifest.blobs.items()}
    blobs |= {manifest.digest: manifest.manifest for manifest in image.walk()}
    files = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [named]}).encode(),
    }
    return _tar(files | {f"blobs/{digest.replace(':', '/')}": blob for digest, blob in blobs.items()})


def index(images: Sequence[Image], *, flavour: Flavour = OCI) -> Image:
    """An index (Docker's flavour: a manifest list) of `images`, each with its own platform."""
    named = []
    for child in images:
        system, architecture = child.platform.split("/")
        named.append({**child.descriptor, "platform": {"architecture": architecture, "os": system}})
    document = {"schemaVersion": 2, "mediaType": flavour.index, "manifests": named}
    return _image(document, flavour.index, children=tuple(images))


def helm_chart(name: str, version: str) -> Image:
    """A chart of one ConfigMap, as `helm push` writes it."""
    about = {"apiVersion": "v2", "name": name, "version": version, "type": "application", "description": "A test chart"}
    template = (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  greeting: {{{{ .Values.greeting }}}}\n"
    )
    files = {
        f"{name}/Chart.yaml": "".join(f"{key}: {value}\n" for key, value in about.items()).encode(),
        f"{name}/values.yaml": b"greeting: hello\n",
        f"{name}/templates/configmap.yaml": template.encode(),
    }
    config = json.dumps(about).encode()
    chart = gzip.compress(_tar(files), mtime=0)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(HELM_CONFIG, config),
        "layers": [descriptor(HELM_CHART, chart)],
        "annotations": {"org.opencontainers.image.title": name, "org.opencontainers.image.version": version},
    }
    return _image(document, OCI_MANIFEST, blobs={digest_of(config): config, digest_of(chart): chart})


def artifact(
    subject: Image | None, artifact_type: str = "application/vnd.example.sbom", payload: bytes = b"an SBOM"
) -> Image:
    """Anything but an image; with a `subject`, one of its referrers (image-spec: guidelines for artifact usage)."""
    title = {"annotations": {"org.opencontainers.image.title": "payload.txt"}}
    document: Json = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": descriptor(EMPTY_TYPE, EMPTY),
        "layers": [descriptor(artifact_type, payload) | title],
        "annotations": {"dev.pullgate.test": "yes"},
    }
    if subject is not None:
        document["subject"] = subject.descriptor
    return _image(document, OCI_MANIFEST, blobs={digest_of(EMPTY): EMPTY, digest_of(payload): payload})


def referrers_index(referrers: Sequence[Image]) -> Image:
    """The index that lists `referrers`: the answer of the referrers API, and the content of a fallback tag."""
    named = []
    for referrer in referrers:
        document = referrer.document
        extra = {key: document[key] for key in ("artifactType", "annotations") if key in document}
        named.append(referrer.descriptor | extra)
    return _image(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": named}, OCI_INDEX, children=tuple(referrers)
    )


def referrers_tag(subject: str) -> str:
    """The fallback tag for the digest `subject` (distribution-spec: referrers tag schema)."""
    return subject.replace(":", "-", 1)


def descriptor(media_type: str, data: bytes) -> Json:
    """mediaType, digest and size of `data`."""
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def _image(
    document: Json,
    media_type: str,
    *,
    blobs: Mapping[str, bytes] | None = None,
    streams: Mapping[str, Noise] | None = None,
    children: tuple[Image, ...] = (),
    platform: str = "linux/amd64",
) -> Image:
    data = json.dumps(document, indent=2).encode()
    return Image(data, media_type, digest_of(data), blobs or {}, streams or {}, children, platform)


def _manifest(flavour: Flavour, config: bytes, layers: list[Json]) -> Json:
    return {
        "schemaVersion": 2,
        "mediaType": flavour.manifest,
        "config": descriptor(flavour.config, config),
        "layers": layers,
    }


def _config(seed: str, architecture: str, diff_ids: list[str], command: Sequence[str] = ("/bin/true",)) -> bytes:
    created = "2026-01-01T00:00:00Z"
    document = {
        "created": created,
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": list(command), "Labels": {"dev.pullgate.seed": seed}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created": created, "created_by": f"layer {number}"} for number in range(len(diff_ids))],
    }
    return json.dumps(document).encode()


def _layer_tar(seed: str, name: str, size: int) -> bytes:
    return _tar({name: random.Random(seed).randbytes(size)})


def _tar(files: Mapping[str, bytes], mode: int = 0o644) -> bytes:
    """A tar with nothing of this machine or this moment in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
