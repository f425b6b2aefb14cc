"""The operator's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pullgate.policy.tenancy import DEFAULT_POLICY, TenantPolicy


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """How the operator runs on a cluster."""

    external_url: str
    """How customers reach the proxy: scheme://host[:port]. Pull Secrets are for its host."""
    identity: str
    """Its name in the Lease: the pod's."""
    admin_host: str = "127.0.0.1"
    admin_port: int = 8081
    """/healthz, /readyz and /metrics."""
    kubeconfig: Path | None = None
    audit_seconds: float = 120.0
    """How often everything is listed, to find what the watch did not tell."""
    proxies: tuple[tuple[str, int], ...] = ()
    """Admin ports of the proxies; a name may stand for many addresses. They are asked for usage."""
    usage_seconds: float = 60.0
    """How often they are asked."""
    own_identity: frozenset[str] = frozenset()
    """Namespaces whose Registries may use the operator's own cloud identity; "*" is every namespace."""
    tenants: TenantPolicy = DEFAULT_POLICY
    """The rules for apps in a namespace whose annotations set no others."""
    ca: Path | None = None
    """PEM file of the CA that signs the proxy's certificate, beside the system's."""
