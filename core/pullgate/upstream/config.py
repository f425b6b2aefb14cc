"""A Registry as the upstream client needs it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pullgate.licensing.marks import Marker
from pullgate.policy.tenancy import Networks
from pullgate.providers.credentials import Credentials
from pullgate.shares import Holders, registry_holders


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds in seconds."""

    connect: float = 5.0
    """To resolve, connect and shake hands."""
    first_byte: float = 10.0
    """From the request to the answer's headers."""
    blob_first_byte: float = 60.0
    """The same for blobs: Artifactory, Nexus and cold storage take 15 s and more before they send a layer."""
    idle: float = 30.0
    """Between two pieces of a body."""
    total: float = 30.0
    """From the first try to the answer's headers: token, redirects, retries and their waits together.

    A blob's slow first byte comes on top.
    """

    def changed(
        self, connect: float | None = None, first_byte: float | None = None, idle: float | None = None
    ) -> Timeouts:
        """These bounds with others in their place; `first_byte` is for blobs, too. None leaves a bound as it is."""
        if first_byte is None:
            first, blob, total = self.first_byte, self.blob_first_byte, self.total
        else:
            first, blob, total = first_byte, first_byte, max(self.total, first_byte + self.total / 2)
        return Timeouts(connect or self.connect, first, blob, idle or self.idle, total)

    def first_byte_of(self, kind: str) -> float:
        """Seconds from a request of `kind` to the answer's headers."""
        return self.blob_first_byte if kind == "blobs" else self.first_byte

    def total_of(self, kind: str) -> float:
        """Seconds for all tries of a request of `kind`."""
        return self.total + self.blob_first_byte if kind == "blobs" else self.total


@dataclass(frozen=True, slots=True)
class UpstreamConfig:
    """One upstream and how it is spoken to. Equal configs may share one `Upstream`."""

    registry: str
    """Namespace and name of the Registry ("my-app/quay"), for words."""
    host: str
    """The host as people know it (docker.io), for words."""
    wire_host: str
    """host[:port] that is connected to (registry-1.docker.io)."""
    credentials: Credentials | None = field(default=None, repr=False)
    plain_http: bool = False
    ca_pem: str | None = field(default=None, repr=False)
    """Certificates that are trusted in addition to the system's."""
    issued: bool = False
    """True if the credentials are a token that Pullgate asked for: its token server is the upstream's own host."""
    realm_hosts: frozenset[str] = frozenset()
    """Further hosts (host or host:port, lower case) that may be this Registry's token server."""
    networks: Networks = ()
    """Private networks that may be dialled, loopback among them."""
    allow_private: bool = False
    """True: redirects and token servers may lead there, too. Else the upstream's own host alone."""
    timeouts: Timeouts = Timeouts()
    pullgate: bool = False
    """True if it is a Pullgate proxy, whose faults are passed on with their reason, message and hint."""
    own_anywhere: bool = False
    """True: the upstream's own name may have any private address. For a host that no tenant chose."""
    marker: Marker | None = None
    """Marks each request as a test's. None: what is asked counts as the customer's."""

    @property
    def holders(self) -> Holders:
        """The Registry and its app, in whose name its client takes what all share."""
        namespace, _, name = self.registry.partition("/")
        return registry_holders(namespace, name)
