"""The proxy's settings, fixed at its start."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pullgate_proxy.cache.blobs.objects import Location

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


class InvalidSettings(ValueError):
    """A setting that cannot work; the message names it and the fix."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """The settings of one proxy: addresses, limits, timeouts, caches and peers."""

    listen_host: str = "127.0.0.1"
    listen_port: int = 8080
    """0 takes a free port; `Proxy.port` tells which."""
    admin_host: str = "127.0.0.1"
    admin_port: int = 8081
    """/metrics, /healthz and /readyz; never the port that customers reach."""
    external_url: str = "http://localhost:8080"
    """How customers reach it: scheme://host[:port]. Realms of challenges are built from it."""
    trusted_proxies: tuple[Network, ...] = ()
    """Peers whose X-Forwarded-* and X-Request-Id are believed."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    drain_seconds: float = 30.0
    """How long bodies may finish after SIGTERM."""
    log_format: str = "auto"
    """auto (text on a terminal, else JSON), text, json."""
    connect_timeout: float | None = None
    first_byte_timeout: float | None = None
    idle_timeout: float | None = None
    """Seconds, towards every upstream; None: as its Registry says."""
    keepalive_timeout: float = 75.0
    """Seconds that a connection may be without a whole request head, the first one included."""
    max_requests: int = 2000
    """Requests at once; beyond it the answer is Overloaded. Fewer where descriptors are few."""
    max_connections: int = 20_000
    """Clients' connections at once; beyond it the oldest idle one goes. Fewer where descriptors or memory are few."""
    max_memory: int | None = None
    """Bytes that the process may have; None: what its cgroup allows."""
    stall_timeout: float = 120.0
    """Seconds for which a client may take no byte of its response."""
    peers: tuple[tuple[str, int], ...] = ()
    """Admin ports of all replicas (a name may stand for many addresses): what they counted goes into limits."""
    object_store: Location | None = None
    """A second tier for blobs (needs `blob_cache`)."""
    peer_fetch: tuple[tuple[str, int], ...] = ()
    """Addresses at which the replicas answer each other; a name may stand for many addresses.

    One replica fetches each blob for all (needs `blob_cache`). Empty: each fetches for itself.
    """
    peer_listen: tuple[str, int] = ("127.0.0.1", 8082)
    """The address at which this replica answers the others."""
    manifest_cache: int = 64 * 1024 * 1024
    """Bytes of manifests that are kept in memory; 0 keeps none."""
    blob_cache: Path | None = None
    """Directory of blobs; None keeps none."""
    blob_cache_size: int = 10 * 1024**3
    """Bytes of blobs that are kept at most."""
    blob_cache_files: int = 100_000
    grant_limit: int = field(default=200_000)
    """Proven digests kept in memory (see docs/entitlement.md), about 200 bytes each."""

    def __post_init__(self) -> None:
        try:
            url = urlsplit(self.external_url)
        except ValueError:  # a bracket where a host stands
            url = urlsplit("")
        if url.scheme not in {"http", "https"} or not url.hostname or url.path not in {"", "/"}:
            raise InvalidSettings(f"external URL {self.external_url!r}: write it like https://images.example.com")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise InvalidSettings("TLS needs both files: a certificate and its key")
        if self.peer_fetch and not self.blob_cache:
            raise InvalidSettings("--peer needs --blob-cache")
        if self.object_store and not self.blob_cache:
            raise InvalidSettings("--object-store needs --blob-cache")
        if self.log_format not in {"auto", "text", "json"}:
            raise InvalidSettings(f"log format {self.log_format!r}: one of auto, text, json")


def parse_networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """CIDRs (a bare address is its own network) of trusted proxies; raises InvalidSettings."""
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as error:
        raise InvalidSettings(f"trusted proxy: {error}; write it like 10.0.0.0/8") from error
