"""The API version and path of each kind."""

from __future__ import annotations

from typing import Final

from pullgate.resources.model import API_VERSION

PLURALS: Final = {
    "Registry": "registries",
    "License": "licenses",
    "ImageTest": "imagetests",
    "Secret": "secrets",
    "ConfigMap": "configmaps",
    "Namespace": "namespaces",
}

CORE: Final = frozenset({"Secret", "ConfigMap", "Namespace"})


def api_version_of(kind: str) -> str:
    """Group and version."""
    return "v1" if kind in CORE else API_VERSION


def collection_path(kind: str, namespace: str | None) -> str:
    """The path of all documents of `kind`, in one namespace or in all."""
    version = api_version_of(kind)
    base = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    return f"{base}/namespaces/{namespace}/{PLURALS[kind]}" if namespace else f"{base}/{PLURALS[kind]}"


def document_path(kind: str, namespace: str, name: str) -> str:
    """The path of one document."""
    return f"{collection_path(kind, namespace)}/{name}"
