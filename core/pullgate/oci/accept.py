"""Accept of a manifest's request: which types an upstream is asked for (RFC 9110, section 12.5.1).

Registries read it in their own ways. distribution 2.x, Quay and others convert an image to Docker's schema 1 for a
client that does not name Docker's schema 2, even if it accepts `*/*`, or nothing but OCI types. GHCR and distribution
answer 404 to a client that does not name the stored type.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pullgate.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST
from pullgate.oci.schema1 import SCHEMA1_TYPES

ANY_MANIFEST: Final = (*MANIFEST_TYPES, "*/*")
"""Every registry knows these types: containerd sends them."""


def accept_for_upstream(values: tuple[str, ...]) -> tuple[str, ...]:
    """The Accept values for the upstream; `values` are the client's as they came.

    A client that names no type of manifest gets whatever is stored. All others keep their words, and Docker's schema 2
    is added if only OCI types are named: the stored manifest is better than a conversion that nobody asked for.
    """
    named = _types(values)
    if not any(one.startswith("application/vnd.") for one in named):
        return ANY_MANIFEST
    if named & {DOCKER_MANIFEST, *SCHEMA1_TYPES}:
        return values
    wanted = {DOCKER_MANIFEST, DOCKER_LIST} if OCI_INDEX in named else {DOCKER_MANIFEST}
    return (*values, *sorted(wanted - named))


def takes_oci(values: Iterable[str]) -> bool:
    """True if the upstream was asked for a type of OCI."""
    return bool(_types(values) & {OCI_INDEX, OCI_MANIFEST})


def _types(values: Iterable[str]) -> set[str]:
    return {part.partition(";")[0].strip().lower() for value in values for part in value.split(",")}
