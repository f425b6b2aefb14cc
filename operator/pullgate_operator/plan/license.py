"""The desired keys, Secrets and conditions of a License."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pullgate.faults import KeyMalformed
from pullgate.licensing.keys import check_key
from pullgate.licensing.license_file import FILE_LIMIT, InvalidLicenseFile, read_document, sign_license, verify_document
from pullgate.licensing.usage import Usage
from pullgate.providers.handoff import LICENSE_LABEL, MANAGED_BY, secret_data, secret_document
from pullgate.resources.fields import format_time, parse_time
from pullgate.resources.license import KeyStatus, License
from pullgate.resources.model import API_VERSION
from pullgate.store.port import Document
from pullgate.words import count
from pullgate_operator.plan.keys import HeldKey, KeyPlan, plan_keys, unknown_revoked
from pullgate_operator.plan.outcome import Conditions, Event, Plan, turned, without_empty
from pullgate_operator.plan.usage import plan_usage

WARNING_DAYS = (1, 7, 30)
LICENSE_FILE = "license.yaml"
DOCKER_CONFIG = ".dockerconfigjson"


@dataclass(frozen=True, slots=True)
class LicenseInputs:
    """Everything that is known."""

    resource: License
    license_secret: Document | None = field(repr=False)
    pull_secret: Document | None = field(repr=False)
    signing_key: tuple[str, str] = field(repr=False)
    """Private and public key, PEM."""
    hosts: tuple[str, ...]
    """The hosts that customers pull from by default: the proxy's, and the namespace's custom domains."""
    registries: frozenset[str]
    """The names of the namespace's Registries."""
    now: datetime
    usage: Usage | None = None
    """The proxies' counts; None if none has reported any."""
    usage_interval: timedelta = timedelta(minutes=10)
    issued: tuple[datetime, ...] = ()
    """When this process issued keys of it, whatever became of them."""


def secret_names(license_name: str) -> tuple[str, str]:
    """The Secrets of the license file and of the pull secret."""
    return f"{license_name}-license", f"{license_name}-pull"


def license_of_secret(secret_name: str) -> str | None:
    """The License that a Secret of this name would be of."""
    for suffix in ("-license", "-pull"):
        if secret_name.endswith(suffix) and secret_name != suffix:
            return secret_name.removesuffix(suffix)
    return None


def is_ours(secret: Document) -> bool:
    """True if we made the Secret."""
    labels = secret["metadata"].get("labels") or {}
    return all(labels.get(name) == value for name, value in MANAGED_BY.items())


def plan_license(inputs: LicenseInputs, fresh: Callable[[], str]) -> Plan:
    """Decide. `fresh` gives a new license key."""
    resource, now = inputs.resource, inputs.now
    conditions = Conditions(resource.status.conditions, resource.metadata.generation, now)
    conditions.drop("Stalled")
    _put_valid(conditions, resource)
    warned, warning = _put_expiring(conditions, resource)
    foreign = [s["metadata"]["name"] for s in (inputs.license_secret, inputs.pull_secret) if s and not is_ours(s)]
    if foreign:
        conditions.put("Ready", False, "SecretConflict", f"Secret {foreign[0]} was made by somebody else; remove it")
        status = {**_kept(resource), "conditions": conditions.documents()}
        return Plan(status=status, events=_events(inputs, conditions, ()), due=_next_date(resource, now))
    keys = plan_keys(resource, _held_key(inputs), now, fresh, inputs.issued)
    secrets = _build_secrets(inputs, keys) if keys.key else ()
    if secrets and (size := len(secret_data(secrets[0])[LICENSE_FILE])) > FILE_LIMIT:
        _put_too_large(conditions, size)
        keys = plan_keys(resource, _held_key(inputs), now, None)
        status = {**_kept(resource), "conditions": conditions.documents()} | _keys_field(keys.keys)
        return Plan(status=status, events=_events(inputs, conditions, keys.events), due=_next_date(resource, now))
    used = plan_usage(resource.status.usage, keys.keys, inputs.usage, inputs.usage_interval, now)
    if keys.paused_until is not None:
        _put_paused(conditions, keys.paused_until)
    else:
        _put_ready(conditions, inputs, keys)
    license_name, pull_name = secret_names(resource.metadata.name)
    status = {
        **_kept(resource),
        **without_empty({"warnedDays": warned, "rotateKey": keys.rotate_key or None}),
        "conditions": conditions.documents(),
        **_keys_field(used.keys),
        "secrets": {"license": license_name, "pull": pull_name},
    }
    if used.usage is not None:
        status["usage"] = used.usage.model_dump(mode="json", by_alias=True, exclude_none=True)
    if warned is None:
        status.pop("warnedDays", None)
    return Plan(
        status=status,
        secrets=secrets,
        events=_events(inputs, conditions, (*keys.events, *warning)),
        due=min((d for d in (keys.due, used.due, _next_date(resource, now)) if d is not None), default=None),
    )


def _keys_field(keys: Iterable[KeyStatus]) -> dict[str, Any]:
    found = [key.model_dump(mode="json", by_alias=True, exclude_none=True) for key in keys]
    return {"keys": found} if found else {}


def _kept(resource: License) -> dict[str, Any]:
    """The fields that others, or an earlier plan, put in the status."""
    before = resource.status.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    return {**before, "observedGeneration": resource.metadata.generation}


# --- conditions --------------------------------------------------------------------------------------------------


def _put_valid(conditions: Conditions, resource: License) -> None:
    spec, now = resource.spec, conditions.now
    if spec.suspended is not None:
        why = f": {spec.suspended.reason}" if spec.suspended.reason else ""
        conditions.put("Valid", False, "Suspended", f"suspended{why}; remove spec.suspended to restore it")
    elif spec.not_before is not None and now < spec.not_before:
        conditions.put("Valid", False, "NotYetValid", f"valid from {format_time(spec.not_before)}")
    elif spec.expires_at is not None and now >= spec.expires_at:
        conditions.put("Valid", False, "Expired", f"expired {format_time(spec.expires_at)}; extend spec.expiresAt")
    else:
        end = f"until {format_time(spec.expires_at)}" if spec.expires_at is not None else "without an end"
        conditions.put("Valid", True, "Valid", f"valid {end}")


def _put_expiring(conditions: Conditions, resource: License) -> tuple[int | None, tuple[Event, ...]]:
    """Set ExpiringSoon while the end is near. Returns the days that it warns of, and an Event for a new step."""
    end, now = resource.spec.expires_at, conditions.now
    days = None
    if end is not None and now < end:
        days = next((d for d in WARNING_DAYS if end - now <= timedelta(days=d)), None)
    if end is None or days is None:
        conditions.drop("ExpiringSoon")
        return None, ()
    message = f"expires {format_time(end)}, within {count(days, 'day')}; extend spec.expiresAt"
    conditions.put("ExpiringSoon", True, "ExpiringSoon", message)
    told = resource.status.warned_days
    return days, (Event("Warning", "ExpiringSoon", message),) if told is None or days < told else ()


def _put_ready(conditions: Conditions, inputs: LicenseInputs, keys: KeyPlan) -> None:
    named = [e.registry for e in inputs.resource.spec.entitlements if e.registry is not None]
    missing = [name for name in dict.fromkeys(named) if name not in inputs.registries]
    if missing:
        app = inputs.resource.metadata.namespace
        message = f"there is no Registry {missing[0]} in {app}; create it or mend spec.entitlements"
        conditions.put("Ready", False, "RegistryUnknown", message)
        return
    secret, _ = secret_names(inputs.resource.metadata.name)
    unknown = unknown_revoked(inputs.resource, keys.keys)
    rest = f"; keys.revoked names {', '.join(unknown)}, which is no key of this License" if unknown else ""
    conditions.put("Ready", True, "Ready", f"key {keys.keys[0].id} is in Secret {secret}{rest}")


def _put_too_large(conditions: Conditions, size: int) -> None:
    """Leave the issued Secrets as they are: a file that cannot be read back would cost a new key each time."""
    message = (
        f"the license file would have {size // 1024} KiB, and may have {FILE_LIMIT // 1024}; "
        "write spec.entitlements with globs, or name fewer spec.pullSecret.hosts"
    )
    conditions.put("Ready", False, "LicenseFileTooLarge", message)


def _put_paused(conditions: Conditions, until: datetime) -> None:
    message = (
        f"no key is issued before {format_time(until)}: too many were, or are still in their overlap; "
        "find out what changes the Secret or pullgate.dev/rotate-key again and again"
    )
    conditions.put("Ready", False, "KeysIssuedTooOften", message)


def _events(inputs: LicenseInputs, conditions: Conditions, events: Iterable[Event]) -> tuple[Event, ...]:
    found = list(events)
    new = not inputs.resource.status.conditions  # its key was issued: one Event says all
    for type_ in ("Ready", "Valid"):
        condition = turned(inputs.resource.status.conditions, conditions, type_)
        if condition is not None and not (new and condition.status == "True"):
            kind = "Normal" if condition.status == "True" else "Warning"
            found.append(Event(kind, condition.reason, condition.message))
    return tuple(found)


def _next_date(resource: License, now: datetime) -> datetime | None:
    """When the calendar alone changes a condition next."""
    dates = [resource.spec.not_before, resource.spec.expires_at]
    if resource.spec.expires_at is not None:
        dates += [resource.spec.expires_at - timedelta(days=d) for d in WARNING_DAYS]
    return min((d for d in dates if d is not None and d > now), default=None)


# --- Secrets -----------------------------------------------------------------------------------------------------


def _held_key(inputs: LicenseInputs) -> HeldKey | None:
    """The key in the License's Secret, if it is one at all."""
    if inputs.license_secret is None:
        return None
    try:
        document = read_document(secret_data(inputs.license_secret).get(LICENSE_FILE, b"").decode())
        key = str(document["license"]["key"])
        check_key(key)
    except (ValueError, KeyError, TypeError, KeyMalformed):
        return None
    return HeldKey(key, _issued_at(inputs, document))


def _issued_at(inputs: LicenseInputs, document: Mapping[str, Any]) -> datetime | None:
    """When the key was issued, if the file is signed by us for this License and this customer, who has the key."""
    meta, customer = inputs.resource.metadata, inputs.resource.spec.customer
    try:
        facts = verify_document(document, [inputs.signing_key[1]])
        same = (facts.get("customer") or {}).get("id", customer.id) == customer.id
        if same and (facts.get("app"), facts.get("name")) == (meta.namespace, meta.name):
            return parse_time(str(facts["keyIssuedAt"]))
    except (InvalidLicenseFile, KeyError, ValueError, AttributeError):
        pass
    return None


def _build_secrets(inputs: LicenseInputs, keys: KeyPlan) -> tuple[Document, Document]:
    meta, spec = inputs.resource.metadata, inputs.resource.spec
    labels = {**MANAGED_BY, LICENSE_LABEL: meta.name}
    owner = {"apiVersion": API_VERSION, "kind": "License", "name": meta.name, "uid": meta.uid}
    hosts = spec.pull_secret.hosts if spec.pull_secret.hosts is not None else inputs.hosts
    license_name, pull_name = secret_names(meta.name)
    text = sign_license(license_file_facts(inputs.resource, keys, hosts), inputs.signing_key[0])
    pair = base64.b64encode(f"{meta.name}:{keys.key}".encode()).decode()
    auths = {host: {"username": meta.name, "password": keys.key, "auth": pair} for host in hosts}
    config = json.dumps({"auths": auths}, separators=(",", ":"))
    return (
        secret_document(meta.namespace, license_name, {LICENSE_FILE: text.encode()}, labels=labels, owner=owner),
        secret_document(
            meta.namespace,
            pull_name,
            {DOCKER_CONFIG: config.encode()},
            type_="kubernetes.io/dockerconfigjson",
            labels=labels,
            owner=owner,
        ),
    )


def license_file_facts(resource: License, keys: KeyPlan, hosts: Iterable[str]) -> dict[str, Any]:
    """The content of the license file: the License's public facts and the key."""
    spec = resource.spec
    return without_empty(
        {
            "app": resource.metadata.namespace,
            "name": resource.metadata.name,
            "customer": spec.customer.model_dump(exclude_defaults=True) or None,
            "notBefore": format_time(spec.not_before) if spec.not_before is not None else None,
            "expiresAt": format_time(spec.expires_at) if spec.expires_at is not None else None,
            "entitlements": [e.model_dump(mode="json", by_alias=True, exclude_none=True) for e in spec.entitlements],
            "hosts": list(hosts),
            "key": keys.key,
            "keyIssuedAt": format_time(keys.keys[0].issued_at),
        }
    )
