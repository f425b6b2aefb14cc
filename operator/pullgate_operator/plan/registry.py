"""What a Registry's credentials, handoff and conditions shall be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pullgate import faults
from pullgate.providers.credentials import Credentials
from pullgate.providers.handoff import SYSTEM_NAMESPACE, Handoff, encode_handoff, handoff_name, secret_data
from pullgate.providers.table import CredentialsInvalid, resolve_credentials, unsupported_identity
from pullgate.resources.fields import format_time
from pullgate.resources.registry import Registry
from pullgate.store.port import Document
from pullgate.upstream.compile import upstream_config
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.login import LoginResult
from pullgate_operator.plan.claims import Name
from pullgate_operator.plan.outcome import Conditions, Event, Plan, turned, without_empty

STEADY = timedelta(hours=1)
"""While checks find the same, a status tells of one in an hour: nothing is written when nothing changed."""
FIRST_RETRY = timedelta(seconds=5)
"""After a failed check, doubled each time, up to the interval."""

_STEPS: Mapping[str, str] = {
    "UpstreamUnauthorized": "renew the credentials in {source}",
    "UpstreamForbidden": "give the account of {source} read access",
    "UpstreamUnreachable": "check spec.host, and DNS and firewalls on the way; it is tried again",
    "UpstreamTLS": "check spec.host, or name its CA in spec.tls.caSecretRef",
    "UpstreamTimeout": "check firewalls on the way; it is tried again",
    "UpstreamError": "it is tried again",
    "UpstreamProtocol": "check that spec.host is a registry, and spec.tls.plainHTTP",
    "UpstreamRateLimited": "it is tried again",
    "RealmRefused": "list it in spec.network.realmHosts if it is right",
    "RedirectRefused": "allow it in spec.network if it is right",
}
"""The vendor's next step; the faults' own hints speak to customers."""

_PERMANENT = (faults.UpstreamUnauthorized, faults.UpstreamForbidden, faults.RealmRefused, faults.RedirectRefused)


@dataclass(frozen=True, slots=True)
class Checked:
    """The last check, and what it was made with."""

    config: UpstreamConfig
    at: datetime
    result: LoginResult
    failures: int = 0
    """In a row, this one included."""


@dataclass(frozen=True, slots=True)
class RegistryInputs:
    """Everything that is known."""

    resource: Registry
    secret: Document | None = field(repr=False)
    ca_secret: Document | None = field(repr=False)
    older_by_host: Name | None
    older_by_domain: tuple[str, Name] | None
    checked: Checked | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Resolved:
    """Usable credentials."""

    credentials: Credentials | None
    ca_pem: str | None = field(repr=False)
    kind: str
    """Basic or Anonymous."""


@dataclass(frozen=True, slots=True)
class RegistryPlan:
    """A plan, and a check that shall be made."""

    plan: Plan
    check: UpstreamConfig | None


def plan_registry(inputs: RegistryInputs) -> RegistryPlan:
    """Decide."""
    resource, now = inputs.resource, inputs.now
    conditions = Conditions(resource.status.conditions, resource.metadata.generation, now)
    found = resolve(resource, inputs.secret, inputs.ca_secret)
    config = None
    if isinstance(found, Resolved):
        config = upstream_config(resource, found.credentials, found.ca_pem)
        conditions.put("CredentialsAvailable", True, "Available", _source(resource))
    else:
        conditions.put("CredentialsAvailable", False, "CredentialsMissing", str(found))
    checked = inputs.checked if inputs.checked is not None and inputs.checked.config == config else None
    _put_check(conditions, checked, resource, first=inputs.checked is None)
    _put_ready(conditions, inputs, checked)
    due = None
    if config is not None and not resource.spec.suspend:
        due = _next_check(checked, resource.spec.check.interval, now)
    plan = Plan(
        status=_status(inputs, conditions, found, checked),
        secrets=(encode_handoff(_handoff(resource, found)),) if isinstance(found, Resolved) else (),
        unwanted=() if isinstance(found, Resolved) else (handoff_of(resource),),
        events=_events(inputs, conditions),
        due=due,
    )
    return RegistryPlan(plan, config if due is not None and due <= now else None)


def handoff_of(resource: Registry) -> tuple[str, str]:
    """Namespace and name of the handoff Secret."""
    return SYSTEM_NAMESPACE, handoff_name(resource.metadata.namespace, resource.metadata.name)


# --- credentials -------------------------------------------------------------------------------------------------


def resolve(resource: Registry, secret: Document | None, ca_secret: Document | None) -> Resolved | CredentialsInvalid:
    """The credentials that a Registry names, from its Secrets (None: not there), or why there are none."""
    spec = resource.spec
    try:
        ca_pem = _ca_pem(resource, ca_secret)
        if spec.credentials.anonymous is not None:
            return Resolved(None, ca_pem, "Anonymous")
        if spec.credentials.secret_ref is None:
            return unsupported_identity(spec.type)
        name = spec.credentials.secret_ref.name
        if secret is None:
            return CredentialsInvalid(f"there is no Secret {name}", f"create it in {resource.metadata.namespace}")
        data = _data(secret, name)
        type_ = str(secret.get("type", "Opaque"))
        try:
            credentials = resolve_credentials(spec.type, type_, data, spec.host)
        except CredentialsInvalid as error:
            return CredentialsInvalid(f"Secret {name}: {error.message}", error.fix)
        return Resolved(credentials, ca_pem, "Basic")
    except CredentialsInvalid as error:
        return error


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


def _source(resource: Registry) -> str:
    ref = resource.spec.credentials.secret_ref
    return f"Secret {ref.name}" if ref is not None else "anonymous"


def _handoff(resource: Registry, found: Resolved) -> Handoff:
    meta = resource.metadata
    return Handoff(meta.namespace, meta.name, meta.uid, meta.generation, found.credentials, found.ca_pem)


# --- the check ---------------------------------------------------------------------------------------------------


def _next_check(checked: Checked | None, interval: timedelta, now: datetime) -> datetime:
    if checked is None:
        return now
    wait = interval
    if checked.failures:
        wait = min(interval, FIRST_RETRY * 2 ** min(checked.failures - 1, 10))
    if isinstance(checked.result.fault, faults.UpstreamRateLimited):
        wait = max(wait, timedelta(seconds=min(checked.result.fault.retry_after or 0.0, 3600.0)))
    return checked.at + wait


def _put_check(conditions: Conditions, checked: Checked | None, resource: Registry, *, first: bool) -> None:
    if checked is None:
        if first and _holds_still(conditions, resource):
            return
        conditions.put("Reachable", None, "NotChecked", "it was not asked with these settings yet")
        conditions.put("Authenticated", None, "NotChecked", "it was not asked with these settings yet")
        return
    result, host = checked.result, resource.spec.host
    fault = result.fault
    if result.reachable:
        conditions.put("Reachable", True, "Answered", f"{host} answers")
    elif fault is not None:
        conditions.put("Reachable", False, fault.reason, _words(fault, resource))
        conditions.put("Authenticated", None, fault.reason, f"{host} was not reached")
        return
    if fault is None:
        anonymous = resource.spec.credentials.anonymous is not None
        conditions.put(
            "Authenticated", True, "LoggedIn", f"{host} " + ("lets everybody in" if anonymous else "took them")
        )
    elif isinstance(fault, faults.UpstreamRateLimited):
        conditions.put("Authenticated", None, fault.reason, _words(fault, resource))
    else:
        conditions.put("Authenticated", False, fault.reason, _words(fault, resource))


def _holds_still(conditions: Conditions, resource: Registry) -> bool:
    """Whether an earlier process has checked this generation: its word stands until the first check is done."""
    known = conditions.find("Reachable") is not None and conditions.find("Authenticated") is not None
    return known and resource.status.observed_generation == resource.metadata.generation


def _words(fault: faults.Fault, resource: Registry) -> str:
    step = _STEPS.get(fault.reason, "").format(source=_source(resource))
    return f"{fault.message}; {step}" if step else fault.message


# --- the summary -------------------------------------------------------------------------------------------------


def _put_ready(conditions: Conditions, inputs: RegistryInputs, checked: Checked | None) -> None:
    conditions.drop("Stalled", "Reconciling")
    ready, reason, message = _summary(conditions, inputs)
    conditions.put("Ready", ready, reason, message)
    fault = checked.result.fault if checked is not None else None
    if ready or reason == "RegistrySuspended":
        return
    if ready is None or (fault is not None and reason == fault.reason and not isinstance(fault, _PERMANENT)):
        conditions.put("Reconciling", True, reason, message)
    else:
        conditions.put("Stalled", True, reason, message)


def _summary(conditions: Conditions, inputs: RegistryInputs) -> tuple[bool | None, str, str]:
    spec, namespace = inputs.resource.spec, inputs.resource.metadata.namespace
    if spec.suspend:
        return False, "RegistrySuspended", "suspended; set spec.suspend to false to go on"
    if inputs.older_by_domain is not None:
        domain, (other, name) = inputs.older_by_domain
        whose = f"Registry {name}" if other == namespace else f"a Registry of {other}"
        return False, "DomainConflict", f"{domain} is held by the older {whose}; remove the domain from one of them"
    if inputs.older_by_host is not None:
        own = f"/proxy/{namespace}/{inputs.resource.metadata.name}/"
        held = f"{spec.host} is held by the older Registry {inputs.older_by_host[1]}"
        return False, "HostConflict", f"{held}; this one answers under {own} only"
    for type_ in ("CredentialsAvailable", "Reachable", "Authenticated"):
        condition = conditions.find(type_)
        if condition is not None and condition.status != "True":
            return None if condition.status == "Unknown" else False, condition.reason, condition.message
    return True, "Ready", f"{spec.host} can be pulled from"


def _status(
    inputs: RegistryInputs, conditions: Conditions, found: Resolved | CredentialsInvalid, checked: Checked | None
) -> dict[str, Any]:
    status: dict[str, Any] = {
        "observedGeneration": inputs.resource.metadata.generation,
        "host": inputs.resource.spec.host,
        "conditions": conditions.documents(),
    }
    if isinstance(found, Resolved):
        expires = found.credentials.expires_at if found.credentials is not None else None
        status["credentials"] = without_empty(
            {"kind": found.kind, "expiresAt": format_time(expires) if expires is not None else None}
        )
    told = inputs.resource.status
    same = status["conditions"] == [c.model_dump(mode="json", by_alias=True) for c in told.conditions]
    if same and told.last_check and checked and timedelta() <= checked.at - told.last_check.time < STEADY:
        status["lastCheck"] = told.last_check.model_dump(mode="json", by_alias=True)
    elif checked is not None:
        status["lastCheck"] = _last_check(checked)
    elif inputs.checked is None and inputs.resource.status.last_check is not None:
        status["lastCheck"] = inputs.resource.status.last_check.model_dump(mode="json", by_alias=True)
    return status


def _last_check(checked: Checked) -> dict[str, Any]:
    quota = checked.result.quota
    limit = None
    if quota is not None:
        window = f"{quota.window:.0f}s" if quota.window is not None else None
        limit = without_empty({"limit": quota.limit, "remaining": quota.remaining, "window": window})
    latency = f"{max(1, round(checked.result.latency * 1000))}ms"
    return without_empty({"time": format_time(checked.at), "latency": latency, "rateLimit": limit})


def _events(inputs: RegistryInputs, conditions: Conditions) -> tuple[Event, ...]:
    ready = turned(inputs.resource.status.conditions, conditions, "Ready")
    if ready is None or ready.status == "Unknown":
        return ()
    return (Event("Normal" if ready.status == "True" else "Warning", ready.reason, ready.message),)
