"""How one replica names a blob to another. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pullgate.oci.digest import is_digest
from pullgate.oci.reference import is_repository
from pullgate_proxy.cache.blobs.ask import Ask

INSTANCE: Final = "X-Pullgate-Instance"
"""Header with the instance that asks, so that a replica notices a request to itself."""
_PATH = re.compile(r"/peer/([a-z0-9-]{1,63})/([a-z0-9-]{1,63})/([^?#]{1,512})/blobs/([a-z0-9:]+)/([0-9a-f]{32})\Z")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A blob of a Registry's repository."""

    app: str
    registry: str
    repository: str
    digest: str
    place: str
    """The `key` of its Place: a Registry that was made anew, or leads elsewhere, is another one's."""


def path_of(ask: Ask) -> str:
    """The path at the admin port of its owner; the whole of it is what a ticket is for."""
    app, registry, _ = ask.where.registry
    return f"/peer/{app}/{registry}/{ask.repository}/blobs/{ask.digest}/{ask.place.key}"


def read_path(raw_path: str) -> Wanted | None:
    """Parse a path of `path_of`; None for anything else."""
    match = _PATH.match(raw_path)
    if match is None or not is_repository(match[3]) or not is_digest(match[4]):
        return None
    return Wanted(match[1], match[2], match[3], match[4], match[5])
