"""Who holds which host and domain, and who refers to which Secret. A change costs O(1) in the number of Registries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from pullgate.resources.registry import Registry

Name = tuple[str, str]
"""Namespace and name."""

_K = TypeVar("_K")
_LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Claim:
    """What one Registry claims."""

    created: datetime
    name: Name
    host: str
    repositories: frozenset[str]
    """Patterns of spec.repositories."""
    domains: tuple[str, ...]
    secrets: tuple[Name, ...]

    @property
    def age(self) -> tuple[datetime, Name]:
        """The older one sorts first; of two of the same second, the one that is first by name."""
        return self.created, self.name


def build_claim(resource: Registry) -> Claim:
    """The claim of a Registry."""
    meta, spec = resource.metadata, resource.spec
    names = [ref.name for ref in (spec.credentials.secret_ref, spec.tls.ca_secret_ref) if ref is not None]
    return Claim(
        created=meta.creation_timestamp or _LATEST,
        name=(meta.namespace, meta.name),
        host=spec.host,
        repositories=frozenset(spec.repositories),
        domains=spec.domains,
        secrets=tuple((meta.namespace, name) for name in names),
    )


class Claims:
    """All Registries' claims."""

    def __init__(self) -> None:
        self._claims: dict[Name, Claim] = {}
        self._by_host: defaultdict[Name, set[Name]] = defaultdict(set)
        self._by_domain: defaultdict[str, set[Name]] = defaultdict(set)
        self._by_secret: defaultdict[Name, set[Name]] = defaultdict(set)
        self._by_namespace: defaultdict[str, set[Name]] = defaultdict(set)

    def put(self, claim: Claim) -> set[Name]:
        """Take in a new or changed claim; returns the other Registries for which something may have changed."""
        if self._claims.get(claim.name) == claim:
            return set()
        affected = self.remove(claim.name)
        self._claims[claim.name] = claim
        affected |= self._rivals(claim)
        namespace = claim.name[0]
        self._by_host[namespace, claim.host].add(claim.name)
        for domain in claim.domains:
            self._by_domain[domain].add(claim.name)
        for secret in claim.secrets:
            self._by_secret[secret].add(claim.name)
        self._by_namespace[namespace].add(claim.name)
        return affected - {claim.name}

    def remove(self, name: Name) -> set[Name]:
        """Forget a Registry; returns the others for which something may have changed."""
        claim = self._claims.pop(name, None)
        if claim is None:
            return set()
        _discard(self._by_host, (name[0], claim.host), name)
        for domain in claim.domains:
            _discard(self._by_domain, domain, name)
        for secret in claim.secrets:
            _discard(self._by_secret, secret, name)
        _discard(self._by_namespace, name[0], name)
        return self._rivals(claim)

    def __contains__(self, name: Name) -> bool:
        return name in self._claims

    def names(self) -> Iterable[Name]:
        """All Registries."""
        return list(self._claims)

    def names_in(self, namespace: str) -> frozenset[str]:
        """The names of a namespace's Registries."""
        return frozenset(name for _, name in self._by_namespace.get(namespace, ()))

    def referring_to(self, secret: Name) -> set[Name]:
        """The Registries that use a Secret."""
        return set(self._by_secret.get(secret, ()))

    def older_by_host(self, name: Name) -> Name | None:
        """The oldest Registry of the same host with a pattern of `name`, if older ones have all of its patterns.

        Then no pull by the host's name is for `name`: of equal patterns the older Registry's counts.
        """
        claim = self._claims[name]
        rivals = (self._claims[rival] for rival in self._by_host.get((name[0], claim.host), ()))
        older = [r for r in rivals if r.age < claim.age and r.repositories & claim.repositories]
        held = frozenset[str]().union(*(rival.repositories for rival in older))
        return min(older, key=lambda c: c.age).name if older and claim.repositories <= held else None

    def older_by_domain(self, name: Name) -> tuple[str, Name] | None:
        """The first domain of `name` that another Registry holds, and that Registry."""
        claim = self._claims[name]
        for domain in claim.domains:
            older = self._older(claim, self._by_domain.get(domain, ()))
            if older is not None:
                return domain, older
        return None

    def domains_of(self, namespace: str) -> tuple[str, ...]:
        """The custom domains that the namespace's Registries hold, sorted."""
        held = set()
        for name in self._by_namespace.get(namespace, ()):
            claim = self._claims[name]
            held |= {d for d in claim.domains if self._older(claim, self._by_domain[d]) is None}
        return tuple(sorted(held))

    def _older(self, claim: Claim, names: Iterable[Name]) -> Name | None:
        oldest = min((self._claims[name] for name in names), key=lambda c: c.age, default=claim)
        return None if oldest.name == claim.name else oldest.name

    def _rivals(self, claim: Claim) -> set[Name]:
        rivals = set(self._by_host.get((claim.name[0], claim.host), ()))
        for domain in claim.domains:
            rivals |= self._by_domain.get(domain, set())
        return rivals


def _discard(index: dict[_K, set[Name]], key: _K, name: Name) -> None:
    names = index.get(key)
    if names is not None:
        names.discard(name)
        if not names:
            del index[key]
