"""The facts of a License and a Registry that a decision needs, compiled once when the resource changes.

The proxy holds one of these for each resource (100,000 Licenses are in reach), so they are small and share what is
equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pullgate.policy.entitlement import Entitlement
from pullgate.policy.glob import Globs


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a License may use."""

    pulls_per_hour: int | None = None
    bytes_per_day: int | None = None
    concurrent_blobs: int | None = None


@dataclass(frozen=True, slots=True)
class LicenseFacts:
    """A License as it is now."""

    namespace: str
    name: str
    entitlements: tuple[Entitlement, ...]
    """Empty: nothing may be pulled."""
    not_before: datetime | None = None
    expires_at: datetime | None = None
    suspended: str | None = None
    """The reason while suspended ("" if none was given); None: not suspended."""
    limits: Limits | None = None
    """None: without limits, which costs nothing."""


@dataclass(frozen=True, slots=True)
class RegistryFacts:
    """A Registry as it is now, for routing; the credentials are elsewhere."""

    namespace: str
    name: str
    type: str
    host: str
    """Canonical host[:port] as a reference names it (docker.io, not registry-1.docker.io), lower case."""
    repositories: Globs
    """The repositories that the proxy may request from it."""
    domains: tuple[str, ...] = ()
    suspended: bool = False
    delivery: str = "Stream"
    """Stream, or Redirect: hand the upstream's signed blob URL to the client."""
    tag_ttl: float = 30.0
    """Seconds for which a tag is not asked for again."""
    stale_if_error: float = 86400.0
    """Seconds for which a copy may stand in for an upstream that does not answer."""
    keeps_blobs: bool = True
    """True if its blobs may be kept on a disk."""
    prefetches: bool = False
    """True if a manifest's blobs are fetched as soon as the manifest is."""


class RegistryDirectory(Protocol):
    """The look-ups that routing needs, each O(1) in the number of resources."""

    def registry_named(self, namespace: str, name: str) -> RegistryFacts | None:
        """The Registry `name` of app `namespace`."""

    def registries_for_host(self, namespace: str, host: str) -> Sequence[RegistryFacts]:
        """The Registries of app `namespace` for `host` (canonical, or an alias: index.docker.io), oldest first."""

    def registry_for_domain(self, domain: str) -> RegistryFacts | None:
        """The Registry that holds the custom `domain` (lower case, no port)."""
