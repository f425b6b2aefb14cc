"""Whose it is that is kept, and for how long it is believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pullgate import faults

DIGEST_TTL: Final = 3600.0
"""Seconds for which what has a digest is believed to be still there."""

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
    """Whose manifest or blob, and what its Registry says of keeping it."""

    registry: tuple[str, str, str]
    """Namespace, name, uid."""
    host: str
    tag_ttl: float
    """Seconds for which a tag is not asked for again."""
    stale_if_error: float
    """Seconds for which a copy may stand in for an upstream that does not answer."""
    blobs: bool = True
    """Whether blobs are kept."""
    prefetch: bool = False
    """Whether a manifest's blobs are fetched with it."""
