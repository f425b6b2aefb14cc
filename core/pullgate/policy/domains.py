"""Domains that no Registry of any namespace may claim. Pure."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 246
"""Characters of a domain: `domain.` and the domain are the name of a Secret, which has at most 253."""

_LOCAL: Final = (".svc", ".local", ".localhost")
"""In-cluster names (`.svc`, `.cluster.local`), multicast DNS (RFC 6762) and loopback (RFC 6761)."""


def is_local(name: str) -> bool:
    """True for a name (lower case, no port) of a cluster's, a network's or a machine's own."""
    return name == "localhost" or name.endswith(_LOCAL)


def why_reserved(domain: str, external_name: str) -> str:
    """The reason for which nobody may claim `domain`, in words that follow its name; "" if there is none.

    `external_name` is the host by which customers reach the proxy, without its port; both are in lower case.
    """
    if domain == external_name:
        return "is the proxy's own host"
    if is_local(domain):
        return "is a local name"
    return f"is longer than {LONGEST} characters" if len(domain) > LONGEST else ""
