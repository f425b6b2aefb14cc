"""The form of a manifest: a body that an upstream sent as one must be one (image-spec; Docker's schema 1 and 2). Pure.

A login page, a proxy or another program answers 200 with something else. The media type must agree with the content, as
containerd and distribution check it: one body must not be an image for one reader and an index for another
(CVE-2021-41190). No other field is checked: registries hold manifests of many tools.
"""

from __future__ import annotations

from typing import Any, Final

from pullgate.oci.json_text import TooDeep, TooMuch, read_json
from pullgate.oci.manifest import DOCKER_MANIFEST, INDEX_TYPES, OCI_MANIFEST

ARTIFACT_TYPES: Final = frozenset(
    {
        "application/vnd.oci.artifact.manifest.v1+json",
        "application/vnd.cncf.oras.artifact.manifest.v1+json",
    }
)
"""Artifact manifests of image-spec 1.1's release candidates and of ORAS: no schemaVersion, but a mediaType."""
IMAGE_TYPES: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
MANIFEST: Final = "a manifest"


def check_manifest(body: bytes, content_type: str = "") -> None:
    """Raise ValueError if `body` is no manifest; the message names the kind that came instead.

    `content_type` is the media type of the answer. A manifest may lack its mediaType, as OCI ones of older tools do.
    """
    document = read_object(body, MANIFEST)
    said = document.get("mediaType")
    media_type = said if isinstance(said, str) and said else content_type
    if media_type in ARTIFACT_TYPES and isinstance(said, str):
        fits = isinstance(document.get("blobs"), list | None)
    elif document.get("schemaVersion") == 1:
        fits = isinstance(document.get("fsLayers"), list)
    else:
        fits = document.get("schemaVersion") == 2 and (_is_image(document) != _is_index(document))
    if not fits:
        raise ValueError(f"it sent {object_in_words(document)}, not {MANIFEST}")
    for given in {media_type, content_type}:
        other = (given in INDEX_TYPES and not _is_index(document)) or (given in IMAGE_TYPES and _is_index(document))
        if other:
            raise ValueError(f"it sent a manifest that is not of its media type, {given}")


def read_object(body: bytes, wanted: str) -> dict[str, Any]:
    """The JSON object in `body`. Raises ValueError that names `wanted` and the kind that came, never the body."""
    try:
        document = read_json(body)
    except TooDeep:
        raise ValueError(f"it sent JSON that is nested too deep, not {wanted}") from None
    except TooMuch:
        raise ValueError(f"it sent JSON that holds too many values, not {wanted}") from None
    except ValueError:
        raise ValueError(f"it sent {_text_in_words(body)}, not {wanted}") from None
    if not isinstance(document, dict):
        kind = "a JSON list" if isinstance(document, list) else "a JSON value"
        raise ValueError(f"it sent {kind}, not {wanted}")
    return document


def object_in_words(document: dict[str, Any]) -> str:
    """The words for a JSON object that was not asked for."""
    if not document:
        return "an empty JSON object"
    return "an error in JSON" if document.keys() & {"errors", "error"} else "another JSON object"


def _text_in_words(body: bytes) -> str:
    start = body[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start:
        return "nothing"
    if start.startswith(b"<"):
        return "HTML" if b"<html" in start or b"<!doctype html" in start else "XML"
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes that are no text"
    return "JSON that cannot be read" if start.startswith((b"{", b"[")) else "plain text"


def _is_image(document: dict[str, Any]) -> bool:
    """A config and layers; Go writes an empty list as null."""
    return isinstance(document.get("config"), dict) and isinstance(document.get("layers"), list | None)


def _is_index(document: dict[str, Any]) -> bool:
    return "manifests" in document and isinstance(document["manifests"], list | None)
