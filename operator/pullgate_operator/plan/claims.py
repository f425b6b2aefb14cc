"""The Registries by host, domain and Secret. A change costs O(1) in the number of Registries.

The first claim of a domain holds: a record (`DomainClaim`) names its Registry. A domain without a record, as after an
upgrade from a version that wrote none, is the oldest Registry's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from pullgate.providers.domain_claim import DomainClaim
from pullgate.resources.registry import Registry

Name = tuple[str, str]
"""Namespace and name."""

_K = TypeVar("_K")
_LATEST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Claim:
    """The claims of one Registry."""

    created: datetime
    name: Name
    host: str
    repositories: frozenset[str]
    """Patterns of spec.repositories."""
    domains: tuple[str, ...]
    """As spec.domains lists them, even if another Registry holds them."""
    secrets: tuple[Name, ...]
    uid: str = ""

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
        uid=meta.uid,
    )


class Claims:
    """All Registries' claims, and the records of who holds which domain."""

    def __init__(self, may_claim: Callable[[str, str], bool] = lambda _namespace, _domain: True) -> None:
        """`may_claim` receives a namespace and a domain: False if its Registries may not claim it."""
        self._may_claim = may_claim
        self._claims: dict[Name, Claim] = {}
        self._records: dict[str, DomainClaim] = {}
        self._recorded: defaultdict[Name, set[str]] = defaultdict(set)
        """The domains for which there is a record, by its Registry."""
        self._unreadable: defaultdict[str, dict[Name, str]] = defaultdict(dict)
        """The uids, by namespace and name, of Registries that could not be read since the start."""
        self._by_host: defaultdict[Name, set[Name]] = defaultdict(set)
        self._by_domain: defaultdict[str, set[Name]] = defaultdict(set)
        self._by_secret: defaultdict[Name, set[Name]] = defaultdict(set)
        self._by_namespace: defaultdict[str, set[Name]] = defaultdict(set)

    # --- changes; each returns the other Registries for which something may have changed ---

    def put(self, claim: Claim) -> set[Name]:
        """Take in a new or changed claim."""
        return set() if self._claims.get(claim.name) == claim else self._replace(claim.name, claim)

    def put_unreadable(self, name: Name, uid: str) -> set[Name]:
        """Take in a Registry that cannot be read: what it claimed stands, or, if that is unknown, what it holds."""
        before = self._claims.get(name)
        known = before.uid if before is not None else self._unreadable.get(name[0], {}).get(name)
        if known == uid:
            return set()
        return self._replace(name, None, uid)

    def remove(self, name: Name) -> set[Name]:
        """Forget a Registry."""
        return self._replace(name, None)

    def _replace(self, name: Name, claim: Claim | None, unreadable: str | None = None) -> set[Name]:
        domains = {*self.domains_about(name), *(claim.domains if claim is not None else ())}
        before = {domain: self.holder(domain) for domain in domains}
        affected = self._take_out(name)
        if unreadable is not None:
            self._unreadable[name[0]][name] = unreadable
        if claim is not None:
            affected |= self._put_in(claim)
        for domain, holder in before.items():
            if self.holder(domain) != holder:
                affected |= self._by_domain.get(domain, set())
        return affected - {name}

    def _put_in(self, claim: Claim) -> set[Name]:
        """Returns the Registries of the same host."""
        namespace, name = claim.name[0], claim.name
        self._claims[name] = claim
        self._by_host[namespace, claim.host].add(name)
        for domain in claim.domains:
            self._by_domain[domain].add(name)
        for secret in claim.secrets:
            self._by_secret[secret].add(name)
        self._by_namespace[namespace].add(name)
        return set(self._by_host[namespace, claim.host])

    def _take_out(self, name: Name) -> set[Name]:
        """Returns the Registries of the same host."""
        if self._unreadable.get(name[0], {}).pop(name, None) is not None and not self._unreadable[name[0]]:
            del self._unreadable[name[0]]
        claim = self._claims.pop(name, None)
        if claim is None:
            return set()
        _discard(self._by_host, (name[0], claim.host), name)
        for domain in claim.domains:
            _discard(self._by_domain, domain, name)
        for secret in claim.secrets:
            _discard(self._by_secret, secret, name)
        _discard(self._by_namespace, name[0], name)
        return set(self._by_host.get((name[0], claim.host), ()))

    def put_record(self, record: DomainClaim) -> set[Name]:
        """Take in who holds a domain."""
        if self._records.get(record.domain) == record:
            return set()
        self.drop_record(record.domain)
        self._records[record.domain] = record
        self._recorded[record.registry].add(record.domain)
        return {record.registry, *self._by_domain.get(record.domain, ())}

    def drop_record(self, domain: str) -> None:
        """Forget the record of a domain that nobody holds."""
        record = self._records.pop(domain, None)
        if record is not None:
            self._recorded[record.registry].discard(domain)
            if not self._recorded[record.registry]:
                del self._recorded[record.registry]

    # --- look-ups ---

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

    def holder(self, domain: str) -> Name | None:
        """The Registry that holds the domain.

        It is that of the record, while it is the same Registry, lists the domain and may; else the oldest that does.
        """
        record = self._records.get(domain)
        if record is not None and self._stands(record):
            return record.registry
        rivals = (self._claims[name] for name in self._by_domain.get(domain, ()))
        oldest = min((r for r in rivals if self._may_claim(r.name[0], domain)), key=lambda c: c.age, default=None)
        return oldest.name if oldest is not None else None

    def listed_by(self, name: Name) -> tuple[str, ...]:
        """The domains that a Registry lists, held or not."""
        return self._claims[name].domains

    def listing(self, domain: str) -> set[Name]:
        """The Registries that list a domain."""
        return set(self._by_domain.get(domain, ()))

    def record(self, domain: str) -> DomainClaim | None:
        """The record of who holds the domain."""
        return self._records.get(domain)

    def next_record(self, domain: str, now: datetime) -> DomainClaim | None:
        """The record that shall be: the one that stands, or one for who holds the domain since `now`."""
        holder, record = self.holder(domain), self._records.get(domain)
        if holder is None:
            return None
        if record is not None and self._stands(record):
            return record
        return DomainClaim(domain, *holder, self._claims[holder].uid, now.replace(microsecond=0))

    def held_by(self, name: Name) -> tuple[DomainClaim, ...]:
        """The records that stand of the domains of a Registry, in the order of its spec."""
        records = (self._records.get(domain) for domain in self._claims[name].domains)
        return tuple(r for r in records if r is not None and r.registry == name and self._stands(r))

    def domains_about(self, name: Name) -> tuple[str, ...]:
        """The domains that a Registry lists, and those whose record names it; it may be gone."""
        claim = self._claims.get(name)
        listed = claim.domains if claim is not None else ()
        return tuple(dict.fromkeys((*listed, *sorted(self._recorded.get(name, ())))))

    def recorded(self) -> Iterable[Name]:
        """The Registries that the records name; one may be gone."""
        return list(self._recorded)

    def domains_of(self, namespace: str) -> tuple[str, ...]:
        """The custom domains that the namespace's Registries hold, sorted."""
        names = (*self._by_namespace.get(namespace, ()), *self._unreadable.get(namespace, ()))
        return tuple(sorted({d for name in names for d in self.domains_about(name) if self.holder(d) == name}))

    def rivals_of(self, namespace: str) -> set[Name]:
        """The namespace's Registries, and those of others that list a domain of theirs."""
        found = set(self._by_namespace.get(namespace, ()))
        for name in [*found, *self._unreadable.get(namespace, ())]:
            for domain in self.domains_about(name):
                found |= self._by_domain.get(domain, set())
        return found

    def _stands(self, record: DomainClaim) -> bool:
        if not self._may_claim(record.namespace, record.domain):
            return False
        claim = self._claims.get(record.registry)
        if claim is not None:
            return claim.uid == record.uid and record.domain in claim.domains
        return self._unreadable.get(record.namespace, {}).get(record.registry) == record.uid


def _discard(index: dict[_K, set[Name]], key: _K, name: Name) -> None:
    names = index.get(key)
    if names is not None:
        names.discard(name)
        if not names:
            del index[key]
