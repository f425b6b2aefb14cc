"""License + Registry + repository + reference -> allowed, refused, or to be proven. Pure; asked on every request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from pullgate.faults import NotEntitled
from pullgate.oci.digest import subject_of_tag
from pullgate.policy.entitlement import RepositoryAccess, access
from pullgate.policy.facts import LicenseFacts
from pullgate.policy.route import Route
from pullgate_proxy.lineage.grants import Grants, Scope
from pullgate_proxy.request.parse import Kind, PullRequest


class Decision(Enum):
    """The decision that is possible without asking the upstream."""

    ALLOWED = auto()
    UNPROVEN = auto()
    """A tag rule stands, and nothing known leads from an allowed tag to `Authorization.digest`."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """The outcome for one request."""

    decision: Decision
    access: RepositoryAccess
    scope: Scope | None = None
    """The scope of the grants; None if every reference is allowed."""
    digest: str = ""
    """The digest that must be proven."""


def authorize(license: LicenseFacts, route: Route, request: PullRequest, grants: Grants, now: float) -> Authorization:  # noqa: A002
    """Decide `request` by the License as it is now; `now` is monotonic. Raises NotEntitled, with one text for all."""
    allowed = access(license, route.registry.name, route.repository)
    if allowed is None or not route.registry.repositories.match(route.repository):
        raise NotEntitled(license.name, request.repository)
    if allowed.allows_every_reference or request.kind is Kind.TAGS:
        return Authorization(Decision.ALLOWED, allowed)
    scope = Scope(route.registry, route.repository, allowed.rule)
    digest = _digest_in_question(request)
    if digest is None:
        if not allowed.allows_tag(request.reference):
            raise NotEntitled(license.name, f"{request.repository}:{request.reference}")
        return Authorization(Decision.ALLOWED, allowed, scope)
    known = grants.holds(scope, digest, now)
    return Authorization(Decision.ALLOWED if known else Decision.UNPROVEN, allowed, scope, digest)


def _digest_in_question(request: PullRequest) -> str | None:
    """The digest that must be proven; None if the tag decides.

    The referrers tag schema (distribution-spec) and cosign's names stand for the digest that they are about.
    """
    if request.by_digest:
        return request.reference
    return subject_of_tag(request.reference)
