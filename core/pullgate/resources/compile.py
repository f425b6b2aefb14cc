"""Compile resources to the facts that decisions need."""

from __future__ import annotations

from functools import lru_cache

from pullgate.policy.entitlement import Entitlement, TagRule
from pullgate.policy.facts import LicenseFacts, Limits, RegistryFacts
from pullgate.policy.glob import Globs
from pullgate.policy.semver_range import SemverRange
from pullgate.resources.license import EntitlementSpec, License, LimitsSpec, TagsSpec
from pullgate.resources.registry import Registry
from pullgate.resources.registry_type import host_names


def license_facts(resource: License) -> LicenseFacts:
    """The facts of a License that authorizing a pull needs."""
    spec = resource.spec
    return LicenseFacts(
        namespace=resource.metadata.namespace,
        name=resource.metadata.name,
        entitlements=tuple(_entitlement(entitlement) for entitlement in spec.entitlements),
        not_before=spec.not_before,
        expires_at=spec.expires_at,
        suspended=spec.suspended.reason if spec.suspended is not None else None,
        limits=_limits(spec.limits),
    )


def registry_facts(resource: Registry) -> RegistryFacts:
    """The facts of a Registry that routing needs."""
    spec = resource.spec
    return RegistryFacts(
        namespace=resource.metadata.namespace,
        name=resource.metadata.name,
        type=spec.type,
        host=spec.host,
        repositories=Globs(spec.repositories),
        domains=spec.domains,
        suspended=spec.suspend,
        delivery=spec.delivery,
        tag_ttl=spec.cache.tag_ttl.total_seconds(),
        stale_if_error=spec.cache.stale_if_error.total_seconds(),
        keeps_blobs=spec.cache.blobs,
        prefetches=spec.cache.prefetch,
    )


def held_domains(resource: Registry) -> tuple[str, ...]:
    """The domains that the Registry holds as its status says; all that it lists before any operator decided."""
    shown = resource.status.domains
    if shown is None:
        return resource.spec.domains
    held = {row.name for row in shown}
    return tuple(domain for domain in resource.spec.domains if domain in held)


def registry_hosts(resource: Registry) -> tuple[str, ...]:
    """Every host by which a reference may name the Registry's upstream."""
    return host_names(resource.spec.host)


# Many Licenses say the same: they share one compiled entitlement.
@lru_cache(maxsize=4096)
def _entitlement(spec: EntitlementSpec) -> Entitlement:
    return Entitlement(
        registry=spec.registry,
        repositories=Globs(spec.repositories),
        tags=_tag_rule(spec.tags) if spec.tags is not None else None,
    )


@lru_cache(maxsize=4096)
def _limits(spec: LimitsSpec) -> Limits | None:
    found = Limits(spec.pulls_per_hour, spec.bytes_per_day, spec.concurrent_blobs)
    return found if found != Limits() else None


def _tag_rule(spec: TagsSpec) -> TagRule:
    return TagRule(
        match=Globs(spec.match) if spec.match is not None else None,
        semver=SemverRange(spec.semver) if spec.semver is not None else None,
    )
