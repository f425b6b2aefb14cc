"""The rules that a cluster's administrator sets for the apps of a namespace. Pure.

A tenant writes Registries and Licenses in its namespace. The administrator limits them by annotations of the
Namespace, which a tenant cannot write, and by flags of the operator, which apply if an annotation is absent.
An unreadable annotation allows nothing; an unreadable `max-requests` allows one request.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

DOMAINS: Final = "pullgate.dev/domains"
"""The custom domains that Registries may claim: `images.acme.com, *.acme.dev`; `*` is any, nothing is none."""
PRIVATE_NETWORKS: Final = "pullgate.dev/private-networks"
"""The private networks that upstreams may be in: `10.20.0.0/16, fd12::/48`; `*` is each but loopback."""
OWN_IDENTITY: Final = "pullgate.dev/own-identity"
"""`true`: Registries may use the operator's own cloud identity."""
MAX_REQUESTS: Final = "pullgate.dev/max-requests"
"""The most requests that all Licenses together may have open at each proxy."""

ANY: Final = "*"
ENTRIES: Final = 256
"""Entries of one annotation or flag."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Networks = tuple[Network, ...]

PRIVATE: Final[Networks] = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
"""The networks of `*` (RFC 1918, RFC 6598, RFC 4193). Loopback is the proxy's own pod, and is named by itself."""
LOOPBACK: Final[Networks] = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))
EVERYWHERE: Final[Networks] = (ipaddress.IPv4Network("0.0.0.0/0"), ipaddress.IPv6Network("::/0"))
"""For a client that a person runs where it may go: the command line, and who tests as a customer."""

_T = TypeVar("_T")


class InvalidPolicy(ValueError):
    """A text that is no list of domains or networks; the message names the entry and how to write it."""


@dataclass(frozen=True, slots=True)
class TenantPolicy:
    """The rules for one namespace."""

    domains: tuple[str, ...] = (ANY,)
    """Patterns, lower case: a domain, `*.` and a domain for all below it, or `*`."""
    networks: Networks = ()
    """Private networks in which upstreams, their token servers and redirects may be."""
    own_identity: bool = False
    """True: Registries may use the operator's own cloud identity."""
    max_requests: int | None = None
    """Requests that may be open at once at each proxy; None: the fair share alone."""
    problems: tuple[str, ...] = ()
    """Annotations that cannot be read, in words."""

    def allows_domain(self, domain: str) -> bool:
        """True if a Registry may claim `domain` (lower case, no port)."""
        return any(_covers(pattern, domain) for pattern in self.domains)


DEFAULT_POLICY: Final = TenantPolicy()
"""Any domain that is free, no private network, no identity of the operator."""


def read_policy(annotations: Mapping[str, str], default: TenantPolicy) -> TenantPolicy:
    """The rules that the annotations of a Namespace set, and those of `default` for each that is absent."""
    problems: list[str] = []

    def read(name: str, parse: Callable[[str], _T], absent: _T, denied: _T) -> _T:
        text = annotations.get(name)
        if text is None:
            return absent
        try:
            return parse(text)
        except InvalidPolicy as error:
            problems.append(f"annotation {name}: {error}")
            return denied

    policy = TenantPolicy(
        domains=read(DOMAINS, parse_domains, default.domains, ()),
        networks=read(PRIVATE_NETWORKS, parse_networks, default.networks, ()),
        own_identity=read(OWN_IDENTITY, _parse_bool, default.own_identity, False),
        max_requests=read(MAX_REQUESTS, _parse_count, default.max_requests, 1),
    )
    return replace(policy, problems=tuple(problems))


def parse_domains(text: str) -> tuple[str, ...]:
    """Patterns of domains, separated by commas or spaces. Raises InvalidPolicy."""
    return tuple(dict.fromkeys(_domain(entry) for entry in _entries(text)))


def parse_networks(text: str) -> Networks:
    """Networks in CIDR form or single addresses, separated by commas or spaces. Raises InvalidPolicy."""
    return read_networks(_entries(text))


def read_networks(entries: Iterable[str]) -> Networks:
    """As `parse_networks`, of entries that stand by themselves, as many as there are. Raises InvalidPolicy."""
    found: list[Network] = []
    for entry in entries:
        found += PRIVATE if entry == ANY else (_network(entry),)
    return tuple(dict.fromkeys(found))


def _entries(text: str) -> list[str]:
    entries = text.replace(",", " ").split()
    if len(entries) > ENTRIES:
        raise InvalidPolicy(f"it has {len(entries)} entries; write at most {ENTRIES}")
    return entries


def _domain(entry: str) -> str:
    pattern = entry.lower()
    name = pattern.removeprefix("*.")
    labels = name.split(".")
    well_formed = all(label and label.replace("-", "a").isalnum() and label.isascii() for label in labels)
    if pattern != ANY and not (well_formed and len(labels) > 1 and len(name) <= 253):
        raise InvalidPolicy(f"{entry[:60]!r} is no domain; write it like images.acme.com, *.acme.com or *")
    return pattern


def _network(entry: str) -> Network:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        raise InvalidPolicy(f"{entry[:60]!r} is no network; write it like 10.20.0.0/16, fd12::/48 or *") from None


def _parse_bool(text: str) -> bool:
    if text.strip().lower() not in {"true", "false"}:
        raise InvalidPolicy(f"{text[:60]!r} is neither true nor false")
    return text.strip().lower() == "true"


def _parse_count(text: str) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 9 and int(digits) > 0):
        raise InvalidPolicy(f"{text[:60]!r} is no number of requests; write it like 200")
    return int(digits)


def _covers(pattern: str, domain: str) -> bool:
    if pattern.startswith("*."):
        return domain.endswith(pattern[1:])
    return pattern in {ANY, domain}
