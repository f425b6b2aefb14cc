"""A Registry's Secret, identity and token: the proxy's credentials, and the conditions about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pullgate.providers.credentials import Credentials
from pullgate.providers.destination import check_destination
from pullgate.providers.exchange import CredentialsInvalid, Exchange, fingerprint
from pullgate.providers.handoff import secret_data
from pullgate.providers.known_end import end_of_token
from pullgate.providers.provider import Subject
from pullgate.providers.resolve import resolve_credentials, resolve_identity
from pullgate.resources.fields import format_time, parse_time
from pullgate.resources.registry import Registry
from pullgate.store.port import Document
from pullgate_operator.plan.outcome import Conditions, Event
from pullgate_operator.plan.renewal import Renewal, words_of_failure

EXPIRES_ANNOTATION: Final = "pullgate.dev/expires-at"
"""On a Secret: when its credentials end, where no provider tells it."""
WARNING_DAYS: Final = (1, 7, 30)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A Registry's credentials, read from its Secrets."""

    credentials: Credentials | Exchange | None
    """None: anonymous. An exchange: request a token with it first."""
    ca_pem: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Usable:
    """The credentials that the proxy receives."""

    credentials: Credentials | None
    ca_pem: str | None = field(repr=False)
    kind: str
    """Basic, Anonymous, or what the exchange issued."""
    source: str = ""
    """The exchange's fingerprint."""
    refreshed_at: datetime | None = None


def resolve(
    resource: Registry, secret: Document | None, ca_secret: Document | None, *, own_identity: bool
) -> Resolved | CredentialsInvalid:
    """The credentials that a Registry names, from its Secrets (None: not there), or why there are none.

    An exchange is for a Registry at a host of its own service, over https: nothing is asked for otherwise.
    `own_identity`: whether its namespace may use the operator's own cloud identity, which is that of all tenants.
    """
    try:
        ca_pem = _ca_pem(resource, ca_secret)
        if resource.spec.credentials.anonymous is not None:
            return Resolved(None, ca_pem)
        if resource.spec.credentials.workload_identity is not None:
            found: Credentials | Exchange = _of_identity(resource, own_identity=own_identity)
        else:
            found = _of_secret(resource, secret)
        if not isinstance(found, Credentials):
            check_destination(found.kind, resource.spec)
        return Resolved(found, ca_pem)
    except CredentialsInvalid as error:
        return error


def _of_identity(resource: Registry, *, own_identity: bool) -> Exchange:
    spec, meta = resource.spec, resource.metadata
    identity = spec.credentials.workload_identity
    if identity is None:
        raise TypeError("no identity")
    if identity.service_account_name is None and not own_identity:
        raise CredentialsInvalid(
            f"namespace {meta.namespace} may not use the operator's own identity",
            "name spec.credentials.workloadIdentity.serviceAccountName, or allow it with --own-identity",
        )
    if identity.service_account_name is None and spec.tls.ca_secret_ref is not None:
        # The CA is the tenant's, the token is not: who can lead the cloud's name elsewhere would be believed.
        raise CredentialsInvalid(
            "spec.tls.caSecretRef is set, and a token of the operator's own identity is shown only to a certificate "
            "that the system trusts",
            "remove spec.tls.caSecretRef, or name spec.credentials.workloadIdentity.serviceAccountName",
        )
    return resolve_identity(spec.type, identity, Subject(meta.namespace, meta.name, spec.host))


def _of_secret(resource: Registry, secret: Document | None) -> Credentials | Exchange:
    spec = resource.spec
    if spec.credentials.secret_ref is None:
        raise TypeError("no credentials")
    name = spec.credentials.secret_ref.name
    if secret is None:
        raise CredentialsInvalid(f"there is no Secret {name}", f"create it in {resource.metadata.namespace}")
    data = _data(secret, name)
    try:
        return resolve_credentials(spec.type, str(secret.get("type", "Opaque")), data, spec.host)
    except CredentialsInvalid as error:
        raise CredentialsInvalid(f"Secret {name}: {error.message}", error.fix) from None


def use(found: Resolved | CredentialsInvalid, renewal: Renewal | None, now: datetime) -> Usable | None:
    """The credentials to send to the upstream now; None if there are none."""
    if isinstance(found, CredentialsInvalid):
        return None
    credentials = found.credentials
    if credentials is None or isinstance(credentials, Credentials):
        return Usable(credentials, found.ca_pem, "Anonymous" if credentials is None else "Basic")
    if renewal is None or renewal.issued is None or not renewal.serves(now):
        return None
    issued = renewal.issued
    return Usable(issued.credentials, found.ca_pem, issued.kind, fingerprint(credentials), renewal.issued_at)


def _ca_pem(resource: Registry, ca_secret: Document | None) -> str | None:
    ref = resource.spec.tls.ca_secret_ref
    if ref is None:
        return None
    if ca_secret is None:
        raise CredentialsInvalid(
            f"there is no Secret {ref.name} for the CA", "create it, or remove spec.tls.caSecretRef"
        )
    pem = _data(ca_secret, ref.name).get(ref.key, b"").decode("utf-8", "replace")
    if "-----BEGIN CERTIFICATE-----" not in pem:
        raise CredentialsInvalid(f"Secret {ref.name} has no certificate in PEM under {ref.key}", f"add {ref.key}")
    return pem


def _data(secret: Document, name: str) -> dict[str, bytes]:
    try:
        return secret_data(secret)
    except ValueError as error:
        raise CredentialsInvalid(f"Secret {name}: {error}", "write it anew") from None


def source_of(resource: Registry) -> str:
    """The source of the credentials, in words."""
    credentials = resource.spec.credentials
    if credentials.secret_ref is not None:
        return f"Secret {credentials.secret_ref.name}"
    if credentials.workload_identity is None:
        return "anonymous"
    account = credentials.workload_identity.service_account_name
    return f"ServiceAccount {account}" if account is not None else "the operator's own identity"


def put_available(
    conditions: Conditions, resource: Registry, found: Resolved | CredentialsInvalid, renewal: Renewal | None
) -> None:
    """Set CredentialsAvailable."""
    type_, source, now = "CredentialsAvailable", source_of(resource), conditions.now
    if isinstance(found, CredentialsInvalid):
        conditions.put(type_, False, "CredentialsMissing", str(found))
    elif found.credentials is None or isinstance(found.credentials, Credentials):
        conditions.put(type_, True, "Available", source)
    elif renewal is not None and renewal.failure is not None:
        available, reason, message = words_of_failure(renewal, now)
        conditions.put(type_, available, reason, message)
    elif renewal is not None and renewal.serves(now):
        conditions.put(type_, True, "Available", f"{source}, {found.credentials.source}")
    else:
        conditions.put(type_, None, "Asking", f"a token is being asked for with {found.credentials.source}")


@dataclass(frozen=True, slots=True)
class Ends:
    """When a Registry's credentials end; None if that is unknown."""

    shown: datetime | None = None
    """End of the credentials for the upstream: the vendor's own password, or a token that is renewed."""
    written: datetime | None = None
    """End of the vendor's own entry, which nobody renews: that password, or the keys that request the token."""


def known_ends(secret: Document | None, usable: Usable | None, asked: datetime | None) -> Ends:
    """As a password says itself, the Secret's annotation says, or the provider when `asked`.

    Raises ValueError for an annotation that is no time.
    """
    if usable is None or usable.credentials is None:
        return Ends()
    noted = ((secret or {}).get("metadata", {}).get("annotations") or {}).get(EXPIRES_ANNOTATION)
    end = parse_time(str(noted)) if noted else None
    if usable.source:
        return Ends(usable.credentials.expires_at, end)
    told = (end_of_token(usable.credentials.password), asked, end)
    end = min((each for each in told if each is not None), default=None)
    return Ends(end, end)


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of the credentials, as far as it is known, and the warnings about it."""

    ends: Ends = Ends()
    warned_days: int | None = None
    events: tuple[Event, ...] = ()
    next_step: datetime | None = None
    """When the next warning is due."""


def put_ending(
    conditions: Conditions, resource: Registry, secret: Document | None, usable: Usable | None, asked: datetime | None
) -> Ending:
    """Set CredentialsExpiringSoon while the end of credentials that nobody renews is near."""
    type_, now = "CredentialsExpiringSoon", conditions.now
    try:
        ends = known_ends(secret, usable, asked)
    except ValueError:
        words = f"{EXPIRES_ANNOTATION} of {source_of(resource)} is no time; write it like 2027-01-31T00:00:00Z"
        conditions.put(type_, None, "AnnotationInvalid", words)
        return Ending()
    end = ends.written
    steps = [end, *(end - timedelta(days=d) for d in WARNING_DAYS)] if end is not None else []
    next_step = min((s for s in steps if s > now), default=None)
    days = next((d for d in WARNING_DAYS if end - now <= timedelta(days=d)), None) if end is not None else None
    if end is None or days is None:
        conditions.drop(type_)
        return Ending(ends, next_step=next_step)
    verb = "ended" if end <= now else "end"
    where = "the provider" if ends.shown != end else resource.spec.host
    message = f"the credentials of {source_of(resource)} {verb} {format_time(end)}; renew them at {where}"
    conditions.put(type_, True, type_, message)
    told = resource.status.credentials.warned_days if resource.status.credentials is not None else None
    events = (Event("Warning", type_, message),) if told is None or days < told else ()
    return Ending(ends, days, events, next_step)
