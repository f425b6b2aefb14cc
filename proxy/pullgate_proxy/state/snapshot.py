"""The proxy's view of Registries, Licenses and Secrets. Pure: no I/O, no clock.

One change alters one entry; nothing is rebuilt. Every look-up is O(1) in the number of resources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pullgate.licensing.keys import key_id
from pullgate.policy.facts import LicenseFacts, RegistryFacts
from pullgate.providers.domain_claim import DomainClaim
from pullgate.providers.handoff import Handoff
from pullgate_proxy.state.tokens import SigningKeys

Name = tuple[str, str]
"""(namespace, name)"""


@dataclass(slots=True)
class KeyEntry:
    """A license key that is, or once was, valid."""

    license: LicenseFacts
    ends_at: float | None
    """Unix time at which its replacement has taken over; None while it is the current key."""
    digest: bytes = b""
    revoked: str | None = None
    """The reason ("" where none was given) if it is revoked: since `ends_at`, where that is known."""

    @property
    def id(self) -> str:
        """As the License's status names it."""
        return key_id(self.digest)


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """A key as the License's status names it."""

    digest: bytes
    ends_at: float | None
    revoked: str | None = None


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """A Registry for routing, and what its upstream client is made of."""

    facts: RegistryFacts
    upstream: Any
    """An `UpstreamTemplate`; opaque here."""
    created: str
    """creationTimestamp (RFC 3339): of two that match alike, the older one is asked."""
    aliases: tuple[str, ...]
    """Every host by which a reference may name the upstream."""
    uid: str = ""


class Snapshot:
    """The proxy's whole knowledge. Implements `pullgate.policy.facts.RegistryDirectory`."""

    def __init__(self) -> None:
        self.synced = False
        """True once the first full list was read."""
        self.signing_keys = SigningKeys()
        self.registries_version = 0
        """Another one after each change of a Registry, its credentials or the domains that it holds."""
        self._keys: dict[bytes, tuple[KeyEntry, ...]] = {}
        """Each License that names a key has its own entry for it, as a tenant may write any key into its own status."""
        self._keys_of: dict[Name, tuple[bytes, ...]] = {}
        self._registries: dict[Name, RegistryEntry] = {}
        self._by_host: dict[Name, list[RegistryEntry]] = {}
        self._claims: dict[str, DomainClaim] = {}
        self._handoffs: dict[Name, Handoff] = {}
        self._caps: dict[str, dict[Name, int]] = {}
        """Namespace -> what each of its handoffs says of the requests that may be open."""

    # --- look-ups ---

    def keys(self, digest: bytes) -> tuple[KeyEntry, ...]:
        """The license key with this SHA-256: an entry for each License that names it, almost always one."""
        return self._keys.get(digest, ())

    def registry_named(self, namespace: str, name: str) -> RegistryFacts | None:
        """See RegistryDirectory."""
        entry = self._registries.get((namespace, name))
        return entry.facts if entry else None

    def registries_for_host(self, namespace: str, host: str) -> Sequence[RegistryFacts]:
        """See RegistryDirectory."""
        return [entry.facts for entry in self._by_host.get((namespace, host), ())]

    def registry_for_domain(self, domain: str) -> RegistryFacts | None:
        """See RegistryDirectory."""
        claim = self._claims.get(domain)
        entry = self._registries.get(claim.registry) if claim is not None else None
        if claim is None or entry is None or entry.uid != claim.uid or domain not in entry.facts.domains:
            return None
        return entry.facts

    def entry(self, registry: RegistryFacts) -> RegistryEntry | None:
        """The Registry with its upstream's settings."""
        return self._registries.get((registry.namespace, registry.name))

    def handoff(self, registry: RegistryFacts) -> Handoff | None:
        """The Registry's credentials, as the operator handed them over; None before it did.

        None also for those of a Registry that was there before under the same name, maybe another owner's.
        """
        name = (registry.namespace, registry.name)
        entry, handoff = self._registries.get(name), self._handoffs.get(name)
        return handoff if entry is not None and handoff is not None and handoff.uid == entry.uid else None

    def counts(self) -> dict[str, int]:
        """How many resources are known, by kind."""
        return {"Registry": len(self._registries), "License": len(self._keys_of), "key": len(self._keys)}

    def max_requests(self, namespace: str) -> int | None:
        """The requests that the Licenses of `namespace` may have open at once, by the administrator's word."""
        caps = self._caps.get(namespace)
        return min(caps.values()) if caps else None

    # --- changes ---

    def put_license(self, facts: LicenseFacts, keys: tuple[KeyFacts, ...]) -> None:
        """A License that is new or changed."""
        self.remove_license((facts.namespace, facts.name))
        for key in keys:
            entry = KeyEntry(facts, key.ends_at, key.digest, key.revoked)
            self._keys[key.digest] = (*self._keys.get(key.digest, ()), entry)
        self._keys_of[facts.namespace, facts.name] = tuple(key.digest for key in keys)

    def remove_license(self, name: Name) -> None:
        """A License that is gone: its keys are unknown from now on."""
        for digest in self._keys_of.pop(name, ()):
            entries = self._keys.pop(digest, ())
            if rest := tuple(entry for entry in entries if (entry.license.namespace, entry.license.name) != name):
                self._keys[digest] = rest

    def put_registry(self, entry: RegistryEntry) -> None:
        """A Registry that is new or changed."""
        facts = entry.facts
        self.remove_registry((facts.namespace, facts.name))
        self.registries_version += 1
        self._registries[facts.namespace, facts.name] = entry
        for host in entry.aliases:
            _insert(self._by_host.setdefault((facts.namespace, host), []), entry)

    def remove_registry(self, name: Name) -> None:
        """A Registry that is gone."""
        entry = self._registries.pop(name, None)
        if entry is None:
            return
        self.registries_version += 1
        for host in entry.aliases:
            _remove(self._by_host, (entry.facts.namespace, host), entry)

    def remove_predecessor(self, name: Name, uid: str) -> bool:
        """Remove the Registry `name` unless its uid is `uid`: another one has its name now. Returns if it was."""
        entry = self._registries.get(name)
        is_other = entry is not None and entry.uid != uid
        if is_other:
            self.remove_registry(name)
        return is_other

    def put_handoff(self, name: Name, handoff: Handoff | None) -> None:
        """A Registry's credentials: new, changed, or (None) withdrawn."""
        self.registries_version += 1
        caps = self._caps.setdefault(name[0], {})
        caps.pop(name, None)
        if handoff is None:
            self._handoffs.pop(name, None)
        else:
            self._handoffs[name] = handoff
            if handoff.max_requests is not None:
                caps[name] = handoff.max_requests
        if not caps:
            del self._caps[name[0]]

    def put_claim(self, domain: str, claim: DomainClaim | None) -> None:
        """The operator's word on who holds `domain`; None: nobody."""
        self.registries_version += 1
        if claim is None:
            self._claims.pop(domain, None)
        else:
            self._claims[domain] = claim


def _insert(entries: list[RegistryEntry], entry: RegistryEntry) -> None:
    entries.append(entry)
    entries.sort(key=lambda e: (e.created, e.facts.namespace, e.facts.name))


def _remove(index: dict[Any, list[RegistryEntry]], key: Any, entry: RegistryEntry) -> None:
    entries = index.get(key, [])
    if entry in entries:
        entries.remove(entry)
    if not entries:
        index.pop(key, None)
