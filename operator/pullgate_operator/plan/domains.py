"""The custom domains that a Registry lists and does not hold: why, and whose move it is."""

from __future__ import annotations

from dataclasses import dataclass

from pullgate.policy.domains import why_reserved
from pullgate.policy.tenancy import DOMAINS, TenantPolicy
from pullgate_operator.plan.claims import Claims, Name

CONFLICT = "DomainConflict"
NOT_ALLOWED = "DomainNotAllowed"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The Registry does not stand at some domain that it lists."""

    reason: str
    """DomainConflict or DomainNotAllowed."""
    message: str
    """Names no other namespace: its reader sees his own alone."""


def find_refusal(claims: Claims, name: Name, policy: TenantPolicy, external_name: str) -> Refusal | None:
    """Why the first domain of a Registry's spec that it does not hold is refused; None if it holds all.

    `policy` is that of its namespace; `external_name` is the proxy's own host without its port.
    """
    refused = [domain for domain in claims.listed_by(name) if claims.holder(domain) != name]
    if not refused:
        return None
    found = _explain(claims, refused[0], name, policy, external_name)
    if len(refused) == 1:
        return found
    return Refusal(found.reason, f"{found.message}; {len(refused) - 1} more of spec.domains are refused")


def _explain(claims: Claims, domain: str, name: Name, policy: TenantPolicy, external_name: str) -> Refusal:
    namespace = name[0]
    reserved = why_reserved(domain, external_name)
    if reserved:
        return Refusal(NOT_ALLOWED, f"{domain} {reserved}, which no Registry can claim; remove it from spec.domains")
    if not policy.allows_domain(domain):
        fix = f"the cluster's administrator allows it by the annotation {DOMAINS} of the Namespace"
        return Refusal(NOT_ALLOWED, f"namespace {namespace} may not claim {domain}; {fix}")
    holder = claims.holder(domain)
    if holder is not None and holder[0] == namespace:
        return Refusal(CONFLICT, f"{domain} is held by Registry {holder[1]}; remove the domain from one of them")
    fix = "remove it from spec.domains, or ask the cluster's administrator"
    return Refusal(CONFLICT, f"{domain} is held by another app; {fix}")
