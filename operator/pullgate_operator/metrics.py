"""The operator's metrics. No label holds a License: series stay bounded by the number of Registries."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from pullgate.clean_text import clean
from pullgate.resources.conditions import read_condition
from pullgate.resources.fields import parse_time

KEY_EVENTS = ("KeyIssued", "KeyRotated", "KeyReissued", "KeyRevoked", "KeysIssuedTooOften")
WINDOWS = {"1d": 1, "7d": 7, "30d": 30}


class Metrics:
    """One operator's metrics in its own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leader = Gauge("pullgate_operator_leader", "1 while this process leads.", registry=self.registry)
        self.writes = Counter(
            "pullgate_operator_api_writes",
            "Writes to the API server, by kind.",
            ("kind",),
            registry=self.registry,
        )
        self.reconciles = Counter(
            "pullgate_operator_reconciles",
            "Reconciled resources (result: ok, error).",
            ("kind", "result"),
            registry=self.registry,
        )
        self.queue = Gauge("pullgate_operator_queue", "Resources in the reconcile queue.", registry=self.registry)
        self.unseen = Counter(
            "pullgate_operator_unseen_changes",
            "Changes that the audit found and the watch had missed.",
            registry=self.registry,
        )
        self.registry_ready = Gauge(
            "pullgate_registry_ready",
            "1 while a Registry is Ready; a suspended one is left out.",
            ("namespace", "name"),
            registry=self.registry,
        )
        self.renewals = Counter(
            "pullgate_operator_credential_renewals",
            "Token requests (result: ok, or the reason of CredentialsAvailable).",
            ("result",),
            registry=self.registry,
        )
        self.keys = Counter(
            "pullgate_operator_license_keys",
            "License keys by Event (event: issued, KeyRevoked; KeysIssuedTooOften: not issued).",
            ("event",),
            registry=self.registry,
        )
        for event in KEY_EVENTS:  # the first one of a kind is an increase, too
            self.keys.labels(event)
        self.credentials_end = Gauge(
            "pullgate_registry_credentials_expiry_timestamp_seconds",
            "End of a Registry's credentials (Unix time), if it is known.",
            ("namespace", "name", "renewed"),
            registry=self.registry,
        )
        self.licenses = Gauge(
            "pullgate_licenses", "Licenses by the reason of Valid.", ("state",), registry=self.registry
        )
        self.expiring = Gauge(
            "pullgate_license_expiring",
            "Valid Licenses that end within a window.",
            ("window",),
            registry=self.registry,
        )

    def show(self, registries: list[dict[str, Any]], licenses: list[dict[str, Any]], now: datetime) -> None:
        """Set the gauges that speak of resources."""
        self.registry_ready.clear()
        for document in registries:
            ready = read_condition(document, "Ready")
            if ready.get("reason") != "RegistrySuspended":
                metadata = document["metadata"]
                self.registry_ready.labels(metadata["namespace"], metadata["name"]).set(ready.get("status") == "True")
        self._show_ends(registries)
        self.licenses.clear()
        counts = dict.fromkeys(WINDOWS, 0)
        for document in licenses:
            valid = read_condition(document, "Valid")
            self.licenses.labels(clean(valid.get("reason", "Unknown"))).inc()
            left = _days_left(document, now)
            if valid.get("status") == "True" and left is not None:
                for window, days in WINDOWS.items():
                    counts[window] += left <= days
        for window, count in counts.items():
            self.expiring.labels(window).set(count)

    def _show_ends(self, registries: list[dict[str, Any]]) -> None:
        self.credentials_end.clear()
        for document in registries:
            known = (document.get("status") or {}).get("credentials") or {}
            renewed = str("refreshedAt" in known).lower()
            for end, label in ((known.get("expiresAt"), renewed), (known.get("keysExpireAt"), "false")):
                if end:
                    labels = (document["metadata"]["namespace"], document["metadata"]["name"], label)
                    self.credentials_end.labels(*labels).set(parse_time(end).timestamp())

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)


def _days_left(document: dict[str, Any], now: datetime) -> float | None:
    end = document["spec"].get("expiresAt")
    if not end:
        return None
    return (parse_time(end) - now).total_seconds() / 86400
