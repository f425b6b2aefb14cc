"""The desired credentials, handoff and conditions of a Registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pullgate import faults
from pullgate.policy.tenancy import DEFAULT_POLICY, TenantPolicy
from pullgate.providers.domain_claim import DomainClaim
from pullgate.providers.exchange import CredentialsInvalid
from pullgate.providers.handoff import SYSTEM_NAMESPACE, Handoff, encode_handoff, handoff_name
from pullgate.providers.hints import hint
from pullgate.providers.types import PROVIDERS
from pullgate.resources.fields import format_time
from pullgate.resources.registry import Registry
from pullgate.store.port import Document
from pullgate.upstream.compile import upstream_config
from pullgate.upstream.config import UpstreamConfig
from pullgate_operator.plan.check import (
    LEAST_INTERVAL,
    PERMANENT,
    STEADY,
    STEPS,
    Checked,
    format_duration,
    last_check,
    next_check,
)
from pullgate_operator.plan.claims import Name
from pullgate_operator.plan.credentials import (
    Ending,
    Resolved,
    Usable,
    put_available,
    put_ending,
    resolve,
    source_of,
    use,
)
from pullgate_operator.plan.domains import Refusal
from pullgate_operator.plan.outcome import Conditions, Event, Plan, turned, without_empty
from pullgate_operator.plan.renewal import Renewal

NOT_PROVEN = "NotProven"
"""The upstream let the login in without looking at it."""


@dataclass(frozen=True, slots=True)
class RegistryInputs:
    """Everything that is known."""

    resource: Registry
    secret: Document | None = field(repr=False)
    ca_secret: Document | None = field(repr=False)
    older_by_host: Name | None
    refusal: Refusal | None
    """The refusal of a domain that the Registry lists and does not hold."""
    checked: Checked | None
    now: datetime
    renewal: Renewal | None = None
    """The token's renewal, if the credentials are an exchange."""
    policy: TenantPolicy = DEFAULT_POLICY
    """The administrator's rules for the namespace."""
    least_interval: timedelta = LEAST_INTERVAL
    """The least time between two checks, whatever spec.check.interval is."""
    held: tuple[DomainClaim, ...] = ()
    """The domains that the Registry holds."""


@dataclass(frozen=True, slots=True)
class RegistryPlan:
    """A plan, and the check to make, if any."""

    plan: Plan
    check: UpstreamConfig | None
    source: str = ""
    """The source of the check's credentials: `Usable.source`."""


def plan_registry(inputs: RegistryInputs) -> RegistryPlan:
    """Compute the Registry's status, handoff Secret, events, next wake-up and the check that is due."""
    resource, now = inputs.resource, inputs.now
    conditions = Conditions(resource.status.conditions, resource.metadata.generation, now)
    found = find_credentials(inputs)
    usable = use(found, inputs.renewal, now)
    config = None
    if usable is not None:
        networks, issued = inputs.policy.networks, bool(usable.source)
        config = upstream_config(resource, networks, usable.credentials, usable.ca_pem, issued=issued)
    put_available(conditions, resource, found, inputs.renewal)
    source = usable.source if usable is not None else ""
    checked = inputs.checked
    if checked is not None and not checked.is_of(config, resource.spec, source):
        checked = None
    ending = put_ending(conditions, resource, inputs.secret, usable, checked.credentials_end if checked else None)
    _put_check(conditions, checked, resource, first=inputs.checked is None)
    _put_ready(conditions, inputs, checked)
    due = None
    if config is not None and not resource.spec.suspend:
        due = next_check(checked, max(resource.spec.check.interval, inputs.least_interval), now)
        if checked is not None and checked.config != config:  # its token was renewed
            due = now
    check = config if due is not None and due <= now else None
    renew_at = inputs.renewal.renew_at if inputs.renewal is not None else None
    # A running check or renewal plans again when it ends.
    dates = (due, renew_at, ending.next_step)
    waits = usable is None and isinstance(found, Resolved) and (inputs.renewal is None or not inputs.renewal.failures)
    plan = Plan(
        status=_status(inputs, conditions, usable, ending, checked),
        secrets=(encode_handoff(_handoff(inputs, usable)),) if usable is not None else (),
        # Until the first answer for new keys is there, the last token may serve.
        unwanted=() if usable is not None or waits else (handoff_of(resource),),
        events=(*_events(inputs, conditions), *ending.events),
        due=min((d for d in dates if d is not None and d > now), default=None),
    )
    return RegistryPlan(plan, check, source)


def find_credentials(inputs: RegistryInputs) -> Resolved | CredentialsInvalid:
    """The Registry's credentials, or why there are none."""
    return resolve(inputs.resource, inputs.secret, inputs.ca_secret, own_identity=inputs.policy.own_identity)


def handoff_of(resource: Registry) -> tuple[str, str]:
    """Namespace and name of the handoff Secret."""
    return SYSTEM_NAMESPACE, handoff_name(resource.metadata.namespace, resource.metadata.name)


# --- credentials -------------------------------------------------------------------------------------------------


def _handoff(inputs: RegistryInputs, usable: Usable) -> Handoff:
    meta = inputs.resource.metadata
    return Handoff(
        meta.namespace,
        meta.name,
        meta.uid,
        meta.generation,
        usable.credentials,
        usable.ca_pem,
        usable.kind,
        usable.source,
        usable.refreshed_at,
        inputs.policy.networks,
        inputs.resource.spec.host if usable.source else "",
        inputs.policy.max_requests,
    )


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
        conditions.put("Reachable", False, fault.reason, _words(fault, resource, checked))
        conditions.put("Authenticated", None, fault.reason, f"{host} was not reached")
        return
    if fault is None and result.unproven:
        conditions.put(
            "Authenticated", None, NOT_PROVEN, f"{result.unproven}; name a private image in spec.check.image"
        )
    elif fault is None:
        anonymous = resource.spec.credentials.anonymous is not None
        conditions.put(
            "Authenticated", True, "LoggedIn", f"{host} " + ("lets everybody in" if anonymous else "took them")
        )
    elif isinstance(fault, faults.UpstreamRateLimited):
        conditions.put("Authenticated", None, fault.reason, _words(fault, resource, checked))
    else:
        conditions.put("Authenticated", False, fault.reason, _words(fault, resource, checked))


def _holds_still(conditions: Conditions, resource: Registry) -> bool:
    """True if an earlier process has checked this generation: its result stands until the first check is done."""
    known = conditions.find("Reachable") is not None and conditions.find("Authenticated") is not None
    return known and resource.status.observed_generation == resource.metadata.generation


def _words(fault: faults.Fault, resource: Registry, checked: Checked) -> str:
    """The fault, the next step, and what that is at this provider."""
    if fault.step:
        return f"{fault.for_vendor}; {fault.step}"
    step = STEPS.get(fault.reason, "").format(source=source_of(resource))
    trusted = resource.spec.tls.ca_secret_ref
    if isinstance(fault, faults.UpstreamTLS) and trusted is not None:
        step = f"compare its certificate with the CA in {trusted.key} of Secret {trusted.name}, or check spec.host"
    own = PROVIDERS[resource.spec.type].hints.get(fault.reason)
    if own is not None:
        credentials, image = checked.config.credentials, resource.spec.check.image or ""
        step += ": " if step else ""
        step += hint(
            resource.spec.type,
            fault,
            username=credentials.account if credentials is not None else "",
            repository=image.partition("@")[0].rpartition(":")[0] or image,
            was_issued=bool(checked.source),
        )
    return f"{fault.for_vendor}; {step}" if step else fault.for_vendor


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
    """True if an earlier process found the login right and the image not: that stands, as in `_holds_still`."""
    ready = conditions.find("Ready")
    failed = resource.spec.check.image is not None and ready is not None and ready.reason in faults.FAULTS
    return failed and _holds_still(conditions, resource)


def _summary(conditions: Conditions, inputs: RegistryInputs, checked: Checked | None) -> tuple[bool | None, str, str]:
    spec, namespace = inputs.resource.spec, inputs.resource.metadata.namespace
    if spec.suspend:
        return False, "RegistrySuspended", "suspended; set spec.suspend to false to go on"
    if inputs.refusal is not None:
        return False, inputs.refusal.reason, inputs.refusal.message
    if inputs.older_by_host is not None:
        own = f"/proxy/{namespace}/{inputs.resource.metadata.name}/"
        held = f"the older Registry {inputs.older_by_host[1]} has the same repositories of {spec.host}"
        return False, "HostConflict", f"{held}; this one answers under {own} only; change spec.repositories"
    unproven = None
    for type_ in ("CredentialsAvailable", "Reachable", "Authenticated"):
        condition = conditions.find(type_)
        if condition is None or condition.status == "True":
            continue
        if condition.reason == NOT_PROVEN:
            unproven = condition
            continue
        return None if condition.status == "Unknown" else False, condition.reason, condition.message
    if checked is not None and checked.image_fault is not None:
        return False, checked.image_fault.reason, _words(checked.image_fault, inputs.resource, checked)
    if unproven is not None:
        return False, unproven.reason, unproven.message  # no new try mends it: the vendor must name an image
    message = f"{spec.host} can be pulled from"
    if spec.check.interval < inputs.least_interval:
        least = format_duration(inputs.least_interval.total_seconds())
        message += f"; it is checked every {least}, which is the least that spec.check.interval can be"
    return True, "Ready", message


def _status(
    inputs: RegistryInputs, conditions: Conditions, usable: Usable | None, ending: Ending, checked: Checked | None
) -> dict[str, Any]:
    status: dict[str, Any] = {
        "observedGeneration": inputs.resource.metadata.generation,
        "host": inputs.resource.spec.host,
        "conditions": conditions.documents(),
    }
    if inputs.resource.spec.domains:
        status["domains"] = [{"name": claim.domain, "since": format_time(claim.since)} for claim in inputs.held]
    if usable is not None:
        end, keys_end = ending.ends.shown, ending.ends.written if usable.source else None
        status["credentials"] = without_empty(
            {
                "kind": usable.kind,
                "expiresAt": format_time(end) if end is not None else None,
                "keysExpireAt": format_time(keys_end) if keys_end is not None else None,
                "refreshedAt": format_time(usable.refreshed_at) if usable.refreshed_at is not None else None,
                "warnedDays": ending.warned_days,
            }
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
