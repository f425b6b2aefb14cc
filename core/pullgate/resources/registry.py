"""Registry: an upstream and the one credential set for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pullgate.resources.fields import Domain, Duration, Glob, Host, OneLine, Subdomain, Time, wrong
from pullgate.resources.model import LabelMeta, Part, Reported, ResourceStatus, SecretRef, Unique
from pullgate.resources.registry_type import REGISTRY_TYPES, TypeName

MIN_CHECK_INTERVAL = timedelta(seconds=1)
MIN_TIMEOUT = timedelta(seconds=1)
MAX_CONNECT = timedelta(minutes=1)
MAX_FIRST_BYTE = timedelta(minutes=10)


class Anonymous(Part):
    """No credentials: the upstream is public."""


RoleARN = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$", max_length=2048)]


class AWSIdentity(Part):
    """A role of AWS."""

    role_arn: Annotated[RoleARN | None, Field(alias="roleARN")] = None
    """Left out: the operator's own identity as it is."""
    region: Annotated[str, Field(pattern=r"^[a-z]{2,4}(-[a-z]+)+-\d$")] | None = None
    """In place of the region that the host names."""


class GCPIdentity(Part):
    """A service account of Google, or a workload identity pool."""

    service_account: Annotated[str, Field(pattern=r"^[A-Za-z0-9._+-]+@[a-z0-9.-]+$")] | None = None
    """The account to act as; left out: the identity itself has the role."""
    provider: (
        Annotated[
            str,
            Field(pattern=r"^projects/\d+/locations/global/workloadIdentityPools/[a-z0-9-]+/providers/[a-z0-9-]+$"),
        ]
        | None
    ) = None
    """The pool's provider that trusts the cluster's ServiceAccount tokens."""


class AzureIdentity(Part):
    """An application or managed identity that trusts a ServiceAccount of the cluster."""

    tenant_id: Annotated[str, Field(alias="tenantID", pattern=r"^[A-Za-z0-9.-]+$", max_length=128)]
    client_id: Annotated[str, Field(alias="clientID", pattern=r"^[A-Za-z0-9-]+$", max_length=128)]


class WorkloadIdentity(Part):
    """The cloud's own identity instead of a stored secret."""

    service_account_name: Subdomain | None = None
    """A ServiceAccount of this namespace, whose token the operator asks for; left out: the operator's own identity."""
    aws: AWSIdentity | None = None
    gcp: GCPIdentity | None = None
    azure: AzureIdentity | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> WorkloadIdentity:
        if len(self.model_fields_set & {"aws", "gcp", "azure"}) != 1:
            raise wrong("needs exactly one cloud", "keep one of aws, gcp, azure")
        if self.service_account_name is None:
            return self
        if self.aws is not None and self.aws.role_arn is None:
            raise wrong("has a serviceAccountName and no aws.roleARN", "name the role that trusts it")
        if self.gcp is not None and self.gcp.provider is None:
            raise wrong("has a serviceAccountName and no gcp.provider", "name the provider that trusts it")
        return self


class CredentialsSpec(Part):
    """The source of the credentials: exactly one."""

    secret_ref: SecretRef | None = None
    workload_identity: WorkloadIdentity | None = None
    anonymous: Anonymous | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> CredentialsSpec:
        given = [w for w in (self.secret_ref, self.workload_identity, self.anonymous) if w is not None]
        if len(given) != 1:
            found = "none is given" if not given else f"{len(given)} are given"
            raise wrong(f"needs exactly one way, {found}", "keep one of secretRef, workloadIdentity, anonymous: {}")
        return self


class CacheSpec(Part):
    """How long the proxy may answer from its own copy."""

    tag_ttl: Annotated[Duration, Field(alias="tagTTL")] = timedelta(seconds=30)
    stale_if_error: Duration = timedelta(hours=24)
    blobs: bool = True
    """True if blobs are kept on the proxy's disk; a proxy may have none."""
    prefetch: bool = False
    """True if a manifest's blobs are fetched as soon as the manifest is."""


class CASecretRef(SecretRef):
    """One key of a Secret: certificates in PEM."""

    key: Annotated[str, OneLine] = "ca.crt"


class TLSSpec(Part):
    """How the upstream is reached."""

    ca_secret_ref: CASecretRef | None = None
    plain_http: Annotated[bool, Field(alias="plainHTTP")] = False


class NetworkSpec(Part):
    """The hosts and networks to which the upstream may send the proxy."""

    realm_hosts: Annotated[tuple[Host, ...], Unique, Field(max_length=16)] = ()
    """Further hosts that may be its token server, and so see the credentials."""
    allow_private: bool = False
    """True if its redirects and token servers may lead to private and link-local addresses."""


class TimeoutsSpec(Part):
    """How long the upstream may take. Left out: 5 s to connect, 10 s to an answer, 60 s to the first byte of a blob."""

    connect: Duration | None = None
    """To resolve, connect and shake hands."""
    first_byte: Duration | None = None
    """From a request to the first byte of its answer, for manifests and for blobs."""

    @field_validator("connect")
    @classmethod
    def _connect_in_bounds(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and not MIN_TIMEOUT <= value <= MAX_CONNECT:
            raise wrong("is not between 1s and 1m", "write it like 5s")
        return value

    @field_validator("first_byte")
    @classmethod
    def _first_byte_in_bounds(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and not MIN_TIMEOUT <= value <= MAX_FIRST_BYTE:
            raise wrong("is not between 1s and 10m", "write it like 90s")
        return value


class CheckSpec(Part):
    """How often the credentials are tried."""

    interval: Duration = timedelta(minutes=5)
    image: Annotated[str, Field(min_length=1, max_length=512), OneLine] | None = None

    @field_validator("interval")
    @classmethod
    def _not_too_often(cls, value: timedelta) -> timedelta:
        if value < MIN_CHECK_INTERVAL:
            raise wrong("is shorter than a second", "write it like 5m")
        return value


class RegistrySpec(Part):
    """The spec, as the vendor wrote it."""

    type: TypeName
    host: Host = ""
    """Canonical host[:port], lower case; the type's host if it is left out."""
    credentials: CredentialsSpec
    domains: Annotated[tuple[Domain, ...], Unique, Field(max_length=64)] = ()
    repositories: Annotated[tuple[Glob, ...], Unique, Field(min_length=1, max_length=256)] = ("**",)
    delivery: Literal["Stream", "Redirect"] = "Stream"
    cache: CacheSpec = CacheSpec()
    tls: TLSSpec = TLSSpec()
    check: CheckSpec = CheckSpec()
    network: NetworkSpec = NetworkSpec()
    timeouts: TimeoutsSpec = TimeoutsSpec()
    suspend: bool = False

    @model_validator(mode="before")
    @classmethod
    def _host_of_type(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("host") is None:
            row = REGISTRY_TYPES.get(str(data.get("type")))
            if row is not None and row.host is not None:
                return {**data, "host": row.host}
        return data

    @model_validator(mode="after")
    def _host_given(self) -> RegistrySpec:
        if not self.host:
            example = REGISTRY_TYPES[self.type].host_example
            raise wrong(f"type {self.type} needs a host", f"add host: {example}")
        return self


class CredentialsStatus(Reported):
    """The known facts of the credentials, never the secret itself."""

    kind: str = ""
    expires_at: Time | None = None
    keys_expire_at: Time | None = None
    """When the keys expire that renew the token."""
    refreshed_at: Time | None = None
    warned_days: int | None = None
    """The last expiry warning that an Event reported, in days before the end."""


class LastCheck(Reported):
    """The last ping and login."""

    time: Time
    latency: str = ""


class DomainStatus(Reported):
    """A custom domain that the Registry holds."""

    name: str
    since: Time


class RegistryStatus(ResourceStatus):
    """The status, as the operator writes it."""

    host: str = ""
    """The host in use: the type's host if the spec leaves it out."""
    domains: tuple[DomainStatus, ...] | None = None
    """The domains of spec.domains that it holds; None: nobody has decided. For people; the proxy does not read it."""
    credentials: CredentialsStatus | None = None
    last_check: LastCheck | None = None


class Registry(Part):
    """The resource."""

    api_version: Literal["pullgate.dev/v1alpha1"]
    kind: Literal["Registry"]
    metadata: LabelMeta
    spec: RegistrySpec
    status: RegistryStatus = RegistryStatus()
