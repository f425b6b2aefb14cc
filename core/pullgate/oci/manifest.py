"""A manifest's children, blobs and subject (image-spec; Docker's schema 1 and 2; artifact manifests)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pullgate.oci.digest import is_digest
from pullgate.oci.json_text import read_json
from pullgate.oci.schema1 import SCHEMA1, SCHEMA1_SIGNED

MANIFEST_LIMIT = 4 * 1024 * 1024
"""Bytes: distribution-spec, "Pushing Manifests"."""
DESCRIPTOR_LIMIT = 10_000

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFEST_TYPES = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)
"""Types that current clients accept; GHCR answers 404 to a client that does not accept the stored type."""

_FOREIGN = ("foreign.diff.tar", ".layer.nondistributable.")


@dataclass(frozen=True, slots=True)
class Platform:
    """os/architecture[/variant] of a manifest in an index."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


@dataclass(frozen=True, slots=True)
class Manifest:
    """The digests in a manifest."""

    media_type: str
    children: tuple[str, ...] = ()
    """Manifests of an index."""
    blobs: tuple[str, ...] = ()
    """Config and layers; without a repetition."""
    subject: str | None = None
    """Digest of the manifest that a signature or an SBOM refers to."""
    platforms: tuple[Platform | None, ...] = ()
    """Platforms of `children`, in their order."""
    config: str | None = None
    """Config of an image or an artifact; it is among the blobs."""
    sizes: tuple[int | None, ...] = ()
    """Bytes of `blobs`, in their order; None if the manifest does not say."""
    foreign: frozenset[str] = frozenset()
    """Blobs that a registry need not hold: layers that may not be distributed (image-spec, "Non-Distributable")."""

    @property
    def is_index(self) -> bool:
        """True if it names manifests."""
        return bool(self.children) or self.media_type in INDEX_TYPES


def parse_manifest(body: bytes, content_type: str | None = None) -> Manifest:
    """Read a manifest. Raises ValueError for what is none, names a digest of a wrong form, or breaks a bound."""
    if len(body) > MANIFEST_LIMIT:
        raise ValueError(f"the manifest is larger than {MANIFEST_LIMIT} bytes")
    try:
        document = read_json(body)
    except ValueError as error:
        raise ValueError("the manifest is not JSON") from error
    if not isinstance(document, dict):
        raise ValueError("the manifest is not an object")
    media_type = document.get("mediaType") or (content_type or "").partition(";")[0].strip()
    if not media_type and document.get("schemaVersion") == 1:
        media_type = SCHEMA1_SIGNED if document.get("signatures") else SCHEMA1
    children = list(_descriptors(document, "manifests"))
    config = next(_descriptors(document, "config"), None)
    blobs = [*_descriptors(document, "config"), *_descriptors(document, "layers"), *_descriptors(document, "blobs")]
    layers = [_digest(layer, "blobSum") for layer in _list(document, "fsLayers")]
    if len(children) + len(blobs) + len(layers) > DESCRIPTOR_LIMIT:
        raise ValueError(f"the manifest names more than {DESCRIPTOR_LIMIT} things")
    subject = next(_descriptors(document, "subject"), None)
    sizes = {_digest(blob, "digest"): _size(blob) for blob in blobs} | dict.fromkeys(layers)
    return Manifest(
        media_type=str(media_type),
        children=tuple(_digest(child, "digest") for child in children),
        blobs=tuple(sizes),
        subject=_digest(subject, "digest") if subject is not None else None,
        platforms=tuple(_platform(child.get("platform")) for child in children),
        config=_digest(config, "digest") if config is not None else None,
        sizes=tuple(sizes.values()),
        foreign=frozenset(_digest(blob, "digest") for blob in blobs if _is_foreign(blob)),
    )


def _list(document: dict[str, Any], name: str) -> list[Any]:
    value = document.get(name)
    return value if isinstance(value, list) else []


def _descriptors(document: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    value = document.get(name)
    if value is None:
        return
    for descriptor in value if isinstance(value, list) else [value]:
        if not isinstance(descriptor, dict):
            raise ValueError(f"{name} holds something that is no descriptor")
        yield descriptor


def _digest(descriptor: object, name: str) -> str:
    digest = descriptor.get(name) if isinstance(descriptor, dict) else None
    if not isinstance(digest, str) or not is_digest(digest):
        raise ValueError("a descriptor names no digest of the right form")
    return digest


def _size(descriptor: dict[str, Any]) -> int | None:
    size = descriptor.get("size")
    return size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None


def _is_foreign(descriptor: dict[str, Any]) -> bool:
    return any(part in str(descriptor.get("mediaType", "")) for part in _FOREIGN)


def _platform(value: object) -> Platform | None:
    if not isinstance(value, dict):
        return None
    return Platform(str(value.get("os", "")), str(value.get("architecture", "")), str(value.get("variant") or ""))
