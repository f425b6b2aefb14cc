"""The Registry that a cached manifest or blob belongs to, and how long the copy stays fresh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pullgate import faults

DIGEST_TTL: Final = 3600.0
"""Seconds for which content with a digest is assumed to be still there."""

STALE: Final = (
    faults.UpstreamUnreachable,
    faults.UpstreamTimeout,
    faults.UpstreamError,
    faults.UpstreamRateLimited,
    faults.UpstreamTLS,
)
"""Faults for which an older copy may stand in: no answer, 5xx or "not now". Any other 4xx is an answer."""


@dataclass(frozen=True, slots=True)
class Where:
    """The Registry of a manifest or blob, and that Registry's cache settings."""

    registry: tuple[str, str, str]
    """Namespace, name, uid."""
    host: str
    tag_ttl: float
    """Seconds for which a tag is not asked for again."""
    stale_if_error: float
    """Seconds for which a copy may stand in for an upstream that does not answer."""
    blobs: bool = True
    """True if blobs are kept."""
    prefetch: bool = False
    """True if a manifest's blobs are fetched with it."""
