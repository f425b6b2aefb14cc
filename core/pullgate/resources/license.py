"""License: a customer's right to pull."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pullgate.policy.glob import has_wildcard
from pullgate.resources.fields import Duration, Glob, Host, KeyId, Label, OneLine, Quantity, SemverText, Time, wrong
from pullgate.resources.model import LabelMeta, Part, Positive, Reported, ResourceStatus, Unique

PATTERNS_LIMIT = 64 * 1024
"""Characters: a proxy compiles them before it takes in the next change of anybody, in half a second at most."""
DEFAULT_OVERLAP = timedelta(days=7)


class Customer(Part):
    """The customer of the License; all of it is public."""

    name: Annotated[str, Field(max_length=200), OneLine] = ""
    email: Annotated[str, Field(max_length=200), OneLine] = ""
    id: Annotated[str, Field(max_length=200), OneLine] = ""


class Suspended(Part):
    """Its presence suspends; taking it out restores."""

    reason: Annotated[str, Field(max_length=200), OneLine] = ""


class TagsSpec(Part):
    """The tags that are covered. If both fields are given, either is enough."""

    match: Annotated[tuple[Glob, ...], Unique, Field(min_length=1, max_length=64)] | None = None
    semver: SemverText | None = None

    @model_validator(mode="after")
    def _one_given(self) -> TagsSpec:
        if self.match is None and self.semver is None:
            raise wrong("names no tag", "give match: [...] or semver: '>=1.4 <2', or leave tags out for all of them")
        return self


class EntitlementSpec(Part):
    """Repositories, and which of their tags, of one Registry or of all."""

    registry: Label | None = None
    repositories: Annotated[tuple[Glob, ...], Unique, Field(min_length=1, max_length=64)]
    tags: TagsSpec | None = None


class LimitsSpec(Part):
    """Limits on the pulls."""

    pulls_per_hour: Positive | None = None
    bytes_per_day: Quantity | None = None
    concurrent_blobs: Positive | None = None


class KeysSpec(Part):
    """When the key is replaced by itself, how long the old one goes on, and which ones end at once."""

    rotation: Duration | None = None
    overlap: Duration = DEFAULT_OVERLAP
    """Counts for keys that were replaced before, too, unless they ended."""
    revoked: Annotated[tuple[KeyId, ...], Unique, Field(max_length=64)] = ()
    """Ids of keys that are refused from now on. If the current one is among them, a new one is issued."""

    @field_validator("rotation")
    @classmethod
    def _not_zero(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value < timedelta(seconds=1):
            raise wrong("is shorter than a second", "write it like 90d, or leave it out for no rotation")
        return value


class PullSecretSpec(Part):
    """The hosts that the customer's pull Secret is for."""

    hosts: Annotated[tuple[Host, ...], Unique, Field(min_length=1, max_length=64)] | None = None


class LicenseSpec(Part):
    """The spec, as the vendor wrote it."""

    customer: Customer = Customer()
    not_before: Time | None = None
    expires_at: Time | None = None
    suspended: Suspended | None = None
    entitlements: Annotated[tuple[EntitlementSpec, ...], Field(max_length=64)]
    limits: LimitsSpec = LimitsSpec()
    keys: KeysSpec = KeysSpec()
    pull_secret: PullSecretSpec = PullSecretSpec()

    @model_validator(mode="after")
    def _patterns_bounded(self) -> LicenseSpec:
        patterns = (p for e in self.entitlements for p in (*e.repositories, *((e.tags and e.tags.match) or ())))
        if sum(len(pattern) for pattern in patterns if has_wildcard(pattern)) > PATTERNS_LIMIT:
            words = f"has more than {PATTERNS_LIMIT} characters of patterns with * or ? in all its entitlements"
            raise wrong(words, "use fewer and wider ones, like my-org/**, or more Licenses")
        return self

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> LicenseSpec:
        if self.not_before is not None and self.expires_at is not None and self.not_before >= self.expires_at:
            raise wrong("ends before it begins", "make expiresAt later than notBefore")
        return self


class KeyStatus(Reported):
    """A key that was issued; it is known by its SHA-256 only."""

    id: str
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    issued_at: Time
    expires_at: Time | None = None
    """When it stops, once it is replaced. None: the current key."""
    replaced_at: Time | None = None
    revoked_at: Time | None = None
    revoked_reason: Annotated[str, Field(max_length=200)] | None = None
    """The annotation pullgate.dev/revoked-ID; the customer reads it."""
    last_used_at: Time | None = None


class SecretsStatus(Reported):
    """The names of the Secrets."""

    license: str = ""
    pull: str = ""


class UsageStatus(Reported):
    """The customer's pulls, as the proxies count them."""

    last_pull_at: Time | None = None
    pulls24h: Annotated[int, Field(alias="pulls24h")] = 0
    bytes24h: Annotated[int, Field(alias="bytes24h")] = 0
    denied24h: Annotated[int, Field(alias="denied24h")] = 0
    tests24h: Annotated[int | None, Field(alias="tests24h")] = None
    """Requests of tests as this customer; they are in none of the other figures. None: none."""
    counted_at: Time
    """When these figures were taken."""


class LicenseStatus(ResourceStatus):
    """The status, as the operator writes it."""

    keys: tuple[KeyStatus, ...] = ()
    """The current key first, then replaced ones, newest first."""
    secrets: SecretsStatus = SecretsStatus()
    rotate_key: str = ""
    """The last value of the annotation pullgate.dev/rotate-key that was acted on."""
    warned_days: int | None = None
    """The last of 30, 7, 1 days before the end that an Event reported."""
    usage: UsageStatus | None = None


class License(Part):
    """The resource."""

    api_version: Literal["pullgate.dev/v1alpha1"]
    kind: Literal["License"]
    metadata: LabelMeta
    spec: LicenseSpec
    status: LicenseStatus = LicenseStatus()
