"""The administrator's rules for each namespace, as its annotations are now."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pullgate.policy.domains import why_reserved
from pullgate.policy.tenancy import TenantPolicy, read_policy
from pullgate.store.port import Document
from pullgate_operator.reconcile.settings import ReconcileSettings

_PREFIX = "pullgate.dev/"

log = logging.getLogger(__name__)


class Tenants:
    """The rules by namespace. A namespace that is not known has those of the flags."""

    def __init__(self, settings: ReconcileSettings) -> None:
        self._settings = settings
        self._policies: dict[str, TenantPolicy] = {}
        """The policies of the namespaces that have one of our annotations."""

    def take(self, namespace: str, document: Document | None) -> bool:
        """Read a Namespace that is new, changed or (None) gone. True if its rules changed."""
        before = self._policies.pop(namespace, None)
        annotations = _ours(document["metadata"].get("annotations")) if document is not None else {}
        if annotations:
            policy = self._policies[namespace] = read_policy(annotations, self._flags_for(namespace))
            if policy != before:
                for problem in policy.problems:
                    log.warning("Namespace %s: %s; until it is mended nothing is allowed by it", namespace, problem)
        return self._policies.get(namespace) != before

    def of(self, namespace: str) -> TenantPolicy:
        """The rules for `namespace`."""
        return self._policies.get(namespace) or self._flags_for(namespace)

    def may_claim(self, namespace: str, domain: str) -> bool:
        """True if the namespace's Registries may claim a custom domain that is free."""
        return not why_reserved(domain, self._settings.external_name) and self.of(namespace).allows_domain(domain)

    def _flags_for(self, namespace: str) -> TenantPolicy:
        return self._settings.policy_for(namespace)


def _ours(annotations: object) -> dict[str, str]:
    if not isinstance(annotations, Mapping):
        return {}
    return {name: str(value) for name, value in annotations.items() if str(name).startswith(_PREFIX)}
