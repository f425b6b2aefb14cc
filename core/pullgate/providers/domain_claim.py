"""The records of who holds a custom domain: a Secret for each domain in the system namespace. Pure.

`domain.<domain>`, type `pullgate.dev/domain-claim`, data `claim.json`. The operator alone writes it, and the proxy
believes nothing else: a Registry's status may be written by its tenant.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pullgate.providers.handoff import (
    MANAGED_BY,
    NAMESPACE_LABEL,
    REGISTRY_LABEL,
    SYSTEM_NAMESPACE,
    read_secret_json,
    secret_document,
)
from pullgate.resources.fields import format_time, is_domain, is_label, parse_time

CLAIM_TYPE: Final = "pullgate.dev/domain-claim"
CLAIM_KEY: Final = "claim.json"
CLAIM_LIMIT: Final = 4096
"""Bytes of claim.json; what `encode_claim` writes has some 250."""
UID_LIMIT: Final = 128

_PREFIX: Final = "domain."


@dataclass(frozen=True, slots=True)
class DomainClaim:
    """One Registry holds one domain."""

    domain: str
    """Lower case, no port."""
    namespace: str
    name: str
    uid: str
    """The Registry's uid: one that was made anew under the same name holds nothing."""
    since: datetime
    """Whole seconds."""

    @property
    def registry(self) -> tuple[str, str]:
        """Namespace and name of the Registry."""
        return self.namespace, self.name


def claim_name(domain: str) -> str:
    """The Secret's name."""
    return _PREFIX + domain


def claimed_domain(secret_name: str) -> str | None:
    """The domain that this Secret is about; None for another kind of Secret."""
    domain = secret_name.removeprefix(_PREFIX)
    return domain if domain != secret_name and is_domain(domain) and domain == domain.lower() else None


def encode_claim(claim: DomainClaim) -> dict[str, Any]:
    """The Secret's document."""
    body = {"namespace": claim.namespace, "name": claim.name, "uid": claim.uid, "since": format_time(claim.since)}
    labels = {**MANAGED_BY, REGISTRY_LABEL: claim.name, NAMESPACE_LABEL: claim.namespace}
    data = {CLAIM_KEY: json.dumps(body, separators=(",", ":")).encode()}
    return secret_document(SYSTEM_NAMESPACE, claim_name(claim.domain), data, type_=CLAIM_TYPE, labels=labels)


def decode_claim(document: Mapping[str, Any]) -> DomainClaim:
    """Read what `encode_claim` wrote. Raises ValueError, which tells no part of the content."""
    body = read_secret_json(document, CLAIM_KEY, CLAIM_LIMIT)
    metadata = document.get("metadata")
    domain = claimed_domain(str(metadata.get("name"))) if isinstance(metadata, Mapping) else None
    if domain is None or not isinstance(body, dict):
        raise ValueError(f"{CLAIM_KEY} is no object, or its Secret is not named after a domain")
    texts = [body.get(field) for field in ("namespace", "name", "uid", "since")]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{CLAIM_KEY} lacks a field or has a wrong one")
    namespace, name, uid, since = map(str, texts)
    if not (is_label(namespace) and is_label(name) and len(uid) <= UID_LIMIT):
        raise ValueError(f"{CLAIM_KEY} names no Registry")
    try:
        return DomainClaim(domain, namespace, name, uid, parse_time(since).replace(microsecond=0))
    except ValueError:
        raise ValueError(f"{CLAIM_KEY} has a time that is none") from None
