"""A check of a Registry: what came of it, what it means, and when the next is due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pullgate import faults
from pullgate.resources.fields import format_time
from pullgate.resources.registry import RegistrySpec
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.login import LoginResult
from pullgate_operator.plan.outcome import without_empty

STEADY = timedelta(hours=1)
"""While checks find the same, a status tells of one in an hour: nothing is written when nothing changed."""
LEAST_INTERVAL = timedelta(seconds=30)
"""A shorter spec.check.interval is taken as this: a check takes several requests, and the checks of all share slots."""
FIRST_RETRY = timedelta(seconds=5)
"""After a failed check, doubled each time, up to the interval."""

STEPS: Mapping[str, str] = {
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
    "ManifestUnknown": "check spec.check.image",
    "RepositoryUnknown": "check spec.check.image",
    "ReferenceInvalid": "write spec.check.image like my-org/api:latest",
}
"""The vendor's next step; the faults' own hints speak to customers."""

PERMANENT = (
    faults.UpstreamUnauthorized,
    faults.UpstreamForbidden,
    faults.RealmRefused,
    faults.RedirectRefused,
    faults.ManifestUnknown,
    faults.RepositoryUnknown,
    faults.ReferenceInvalid,
)
"""Faults that no retry mends: somebody must act."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The last check, and the settings that it used."""

    config: UpstreamConfig
    at: datetime
    result: LoginResult
    failures: int = 0
    """In a row, this one included."""
    image: str | None = None
    """spec.check.image, which was asked for after a login that went well."""
    image_fault: faults.Fault | None = None
    source: str = ""
    """The exchange that the credentials came from: a token of it that is renewed does not void the check."""
    credentials_end: datetime | None = None
    """When the provider says that the credentials end."""
    repositories: tuple[str, ...] = ("**",)
    """spec.repositories: one of them may prove the login."""

    def is_of(self, config: UpstreamConfig | None, spec: RegistrySpec, source: str) -> bool:
        """True if the check used these settings."""
        if config is None or spec.check.image != self.image or source != self.source:
            return False
        if self.result.unproven and spec.repositories != self.repositories:
            return False
        if source:
            config = replace(config, credentials=self.config.credentials)
        return config == self.config

    @property
    def fault(self) -> faults.Fault | None:
        """The login's fault, else the image's; None if both went well."""
        return self.result.fault or self.image_fault


def next_check(checked: Checked | None, interval: timedelta, now: datetime) -> datetime:
    """When to ask (again)."""
    if checked is None:
        return now
    wait = interval
    if checked.failures:
        wait = min(interval, FIRST_RETRY * 2 ** min(checked.failures - 1, 10))
    if isinstance(checked.fault, faults.UpstreamRateLimited):
        wait = max(wait, timedelta(seconds=min(checked.fault.retry_after or 0.0, 3600.0)))
    return checked.at + wait


def last_check(checked: Checked) -> dict[str, Any]:
    """status.lastCheck."""
    quota = checked.result.quota
    limit = None
    if quota is not None:
        window = format_duration(quota.window) if quota.window is not None else None
        limit = without_empty({"limit": quota.limit, "remaining": quota.remaining, "window": window})
    latency = f"{max(1, round(checked.result.latency * 1000))}ms"
    return without_empty({"time": format_time(checked.at), "latency": latency, "rateLimit": limit})


def format_duration(seconds: float) -> str:
    """6h, 90m or 45s, as a spec writes it."""
    whole = round(seconds)
    for unit, size in (("h", 3600), ("m", 60)):
        if whole and whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"
