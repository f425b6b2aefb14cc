"""A License's right to pull. Default deny: anything that no entitlement names is not covered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pullgate.faults import LicenseExpired, LicenseNotYetValid, LicenseSuspended
from pullgate.policy.glob import Globs
from pullgate.policy.semver_range import SemverRange

if TYPE_CHECKING:
    from pullgate.policy.facts import LicenseFacts


@dataclass(frozen=True, slots=True)
class TagRule:
    """The tags that match a pattern or lie in the range."""

    match: Globs | None = None
    semver: SemverRange | None = None

    def allows(self, tag: str) -> bool:
        """True if the rule covers `tag`."""
        if self.match is not None and self.match.match(tag):
            return True
        return self.semver is not None and self.semver.match(tag)

    @property
    def text(self) -> str:
        """The rule in words that are the same for equal rules."""
        patterns = sorted(self.match.patterns) if self.match is not None else []
        return f"match {patterns} semver {self.semver.text if self.semver is not None else None}"


@dataclass(frozen=True, slots=True)
class Entitlement:
    """One entry of a License's list."""

    registry: str | None
    """The Registry's name; None: every Registry of the namespace."""
    repositories: Globs
    tags: TagRule | None
    """None: every tag and digest."""


@dataclass(frozen=True, slots=True)
class RepositoryAccess:
    """A license's access to one repository."""

    tags: tuple[TagRule, ...] | None
    """None: every tag and digest."""
    rule: bytes
    """16 bytes, the same for equal tag rules."""

    @property
    def allows_every_reference(self) -> bool:
        """True if no tag rule applies."""
        return self.tags is None

    def allows_tag(self, tag: str) -> bool:
        """True if `tag` may be pulled."""
        return self.tags is None or any(rule.allows(tag) for rule in self.tags)

    @property
    def exact_tags(self) -> tuple[str, ...] | None:
        """All tags that may be pulled, if the rules name each; None if all may, or a pattern or range decides."""
        names: list[str] = []
        for rule in self.tags or ():
            exact = rule.match.exact if rule.match is not None else ()
            if exact is None or rule.semver is not None:
                return None
            names += exact
        return None if self.tags is None else tuple(dict.fromkeys(names))


_EVERYTHING = RepositoryAccess(None, b"\0" * 16)


def covering(license: LicenseFacts, registry_name: str, repository: str) -> Iterator[tuple[int, Entitlement]]:  # noqa: A002
    """The entitlements that name `repository` on the Registry, whatever their tags, each with its place in the list."""
    for index, entitlement in enumerate(license.entitlements):
        if entitlement.registry in {None, registry_name} and entitlement.repositories.match(repository):
            yield index, entitlement


def access(license: LicenseFacts, registry_name: str, repository: str) -> RepositoryAccess | None:  # noqa: A002
    """The access of `license` to `repository` on the Registry; None: no access. Several entitlements add up."""
    rules: list[TagRule] = []
    for _, entitlement in covering(license, registry_name, repository):
        if entitlement.tags is None:
            return _EVERYTHING
        rules.append(entitlement.tags)
    return _restricted(tuple(rules)) if rules else None


def _restricted(rules: tuple[TagRule, ...]) -> RepositoryAccess:
    text = "\n".join(sorted({rule.text for rule in rules}))
    return RepositoryAccess(rules, hashlib.blake2b(text.encode(), digest_size=16).digest())


def check_validity(license: LicenseFacts, now: datetime) -> None:  # noqa: A002
    """Raises LicenseSuspended, LicenseNotYetValid or LicenseExpired: the first that holds at `now`."""
    if license.suspended is not None:
        raise LicenseSuspended(license.name, license.suspended)
    if license.not_before is not None and now < license.not_before:
        raise LicenseNotYetValid(license.name, license.not_before)
    if license.expires_at is not None and now >= license.expires_at:
        raise LicenseExpired(license.name, license.expires_at)
