"""What a Registry's credentials, handoff and conditions shall be."""

from __future__ import annotations

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
from pullgate_operator.plan.check import PERMANENT, STEADY, STEPS, Checked, last_check, next_check
from pullgate_operator.plan.claims import Name
from pullgate_operator.plan.outcome import Conditions, Event, Plan, turned, without_empty


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
    checked = inputs.checked
    if checked is not None and (checked.config, checked.image) != (config, resource.spec.check.image):
        checked = None
    _put_check(conditions, checked, resource, first=inputs.checked is None)
    _put_ready(conditions, inputs, checked)
    due = None
    if config is not None and not resource.spec.suspend:
        due = next_check(checked, resource.spec.check.interval, now)
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
    step = STEPS.get(fault.reason, "").format(source=_source(resource))
    return f"{fault.message}; {step}" if step else fault.message


# --- the summary -------------------------------------------------------------------------------------------------


def _put_ready(conditions: Conditions, inputs: RegistryInputs, checked: Checked | None) -> None:
    ready, reason, message = _summary(conditions, inputs, checked)
    if ready and inputs.checked is None and _image_failed_before(conditions, inputs.resource):
        return
    conditions.drop("Stalled", "Reconciling")
    conditions.put("Ready", ready, reason, message)
    fault = checked.fault if checked is not None else None
    if ready or reason == "RegistrySuspended":
        return
    if ready is None or (fault is not None and reason == fault.reason and not isinstance(fault, PERMANENT)):
        conditions.put("Reconciling", True, reason, message)
    else:
        conditions.put("Stalled", True, reason, message)


def _image_failed_before(conditions: Conditions, resource: Registry) -> bool:
    """Whether an earlier process found the login right and the image not: its word stands, as in `_holds_still`."""
    ready = conditions.find("Ready")
    failed = resource.spec.check.image is not None and ready is not None and ready.reason in faults.FAULTS
    return failed and _holds_still(conditions, resource)


def _summary(conditions: Conditions, inputs: RegistryInputs, checked: Checked | None) -> tuple[bool | None, str, str]:
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
    if checked is not None and checked.image_fault is not None:
        return False, checked.image_fault.reason, _words(checked.image_fault, inputs.resource)
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
        status["lastCheck"] = last_check(checked)
    elif inputs.checked is None and inputs.resource.status.last_check is not None:
        status["lastCheck"] = inputs.resource.status.last_check.model_dump(mode="json", by_alias=True)
    return status


def _events(inputs: RegistryInputs, conditions: Conditions) -> tuple[Event, ...]:
    ready = turned(inputs.resource.status.conditions, conditions, "Ready")
    if ready is None or ready.status == "Unknown":
        return ()
    return (Event("Normal" if ready.status == "True" else "Warning", ready.reason, ready.message),)
