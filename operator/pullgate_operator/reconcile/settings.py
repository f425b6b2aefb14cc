"""The reconcilers' settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from pullgate.policy.tenancy import DEFAULT_POLICY, TenantPolicy
from pullgate_operator.plan.check import LEAST_INTERVAL
from pullgate_operator.plan.image_test import WAIT

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ReconcileSettings:
    """How reconcilers work."""

    external_url: str
    """How customers reach the proxy: scheme://host[:port]. Pull Secrets are for its host."""
    workers: int = 4
    checks: int = 16
    """Registries that are asked at the same time; half of them is the most for one namespace."""
    runs: int = 8
    """ImageTests that run at the same time; half of them is the most for one namespace."""
    check_seconds: float = 120.0
    """For which one check may go on: a login, and some images to try it at, each of which has its own bound."""
    least_interval: timedelta = LEAST_INTERVAL
    """Between two checks of a Registry, whatever its spec.check.interval is."""
    proxy_ca: Path | None = None
    """PEM file of the CA that signs the proxy's certificate, beside the system's; read again for each run."""
    image_test_wait: timedelta = WAIT
    """How long an ImageTest waits for what it names and is not there yet."""
    usage_interval: timedelta = timedelta(minutes=10)
    """Least time between two writes of one License's usage, so that no pull costs a write."""
    longest_sleep: float = 30.0
    """Seconds in which a wall clock that was set is noticed."""

    key_grace: timedelta = timedelta(days=7)
    """How long the key of a License that is gone is kept: put back meanwhile, it has its key again."""

    own_identity: frozenset[str] = frozenset()
    """Namespaces that may use the operator's own cloud identity, which is one for all; "*" is every namespace."""
    tenants: TenantPolicy = DEFAULT_POLICY
    """The rules for a namespace whose annotations set no others."""

    def policy_for(self, namespace: str) -> TenantPolicy:
        """The rules of the flags for `namespace`."""
        return replace(self.tenants, own_identity=not self.own_identity.isdisjoint({"*", namespace}))

    @property
    def external_host(self) -> str:
        """host[:port] of it."""
        return urlsplit(self.external_url).netloc

    @property
    def external_name(self) -> str:
        """Its host without the port, lower case."""
        return urlsplit(self.external_url).hostname or ""
