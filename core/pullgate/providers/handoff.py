"""The operator's Secrets for the proxy, in the system namespace, so that the proxy reads no app's own. Pure.

- `registry.<namespace>.<name>`, type `pullgate.dev/registry-credentials`, data `upstream.json`.
- `proxy-signing-keys`, data `keys.json`: the keys of the proxy's own tokens, newest first, shared by all replicas.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pullgate.oci.json_text import read_json
from pullgate.policy.tenancy import Networks, read_networks
from pullgate.providers.credentials import Credentials
from pullgate.resources.fields import format_time, parse_time

SYSTEM_NAMESPACE = "pullgate-system"
SIGNING_KEYS_NAME = "proxy-signing-keys"
HANDOFF_TYPE = "pullgate.dev/registry-credentials"

REGISTRY_LABEL = "pullgate.dev/registry"
LICENSE_LABEL = "pullgate.dev/license"
NAMESPACE_LABEL = "pullgate.dev/namespace"
MANAGED_BY = {"app.kubernetes.io/managed-by": "pullgate"}

_PREFIX = "registry"


@dataclass(frozen=True, slots=True)
class Handoff:
    """A Registry's credentials as the proxy uses them."""

    namespace: str
    name: str
    uid: str
    generation: int
    credentials: Credentials | None
    """None: anonymous."""
    ca_pem: str | None = None
    kind: str = ""
    """The kind of an issued token: ECRToken …"""
    source: str = ""
    """Fingerprint of the exchange that issued it."""
    refreshed_at: datetime | None = None
    networks: Networks = ()
    """Private networks that the administrator lets this Registry's upstream be in."""
    host: str = ""
    """spec.host that an issued token is for; empty for other credentials, and from an older operator."""
    max_requests: int | None = None
    """Requests that the namespace's Licenses may have open at each proxy; None: their fair share."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key that signs the proxy's own tokens (HS256)."""

    id: str
    key: bytes = field(repr=False)
    """32 bytes."""
    created_at: datetime
    not_after: datetime
    """It verifies no token from then on."""


def handoff_name(namespace: str, name: str) -> str:
    """The Secret's name; neither part has a dot, so it reads back without doubt."""
    return f"{_PREFIX}.{namespace}.{name}"


def handoff_target(secret_name: str) -> tuple[str, str] | None:
    """Namespace and name of the Registry that this Secret is for; None for another kind of Secret."""
    parts = secret_name.split(".")
    return (parts[1], parts[2]) if len(parts) == 3 and parts[0] == _PREFIX and all(parts) else None


def encode_handoff(handoff: Handoff) -> dict[str, Any]:
    """The Secret's document."""
    credentials = handoff.credentials
    body: dict[str, Any] = {
        "namespace": handoff.namespace,
        "name": handoff.name,
        "uid": handoff.uid,
        "generation": handoff.generation,
        "kind": "Anonymous" if credentials is None else "Basic",
    }
    if credentials is not None:
        body |= {"username": credentials.username, "password": credentials.password}
        if credentials.expires_at is not None:
            body["expiresAt"] = format_time(credentials.expires_at)
    if handoff.source and handoff.refreshed_at is not None:
        issued = {"kind": handoff.kind, "source": handoff.source, "at": format_time(handoff.refreshed_at)}
        issued |= {"host": handoff.host} if handoff.host else {}
        body["issued"] = issued
    if handoff.ca_pem is not None:
        body["caPEM"] = handoff.ca_pem
    if handoff.networks:
        body["networks"] = [str(network) for network in handoff.networks]
    if handoff.max_requests is not None:
        body["maxRequests"] = handoff.max_requests
    labels = {**MANAGED_BY, REGISTRY_LABEL: handoff.name, NAMESPACE_LABEL: handoff.namespace}
    name = handoff_name(handoff.namespace, handoff.name)
    data = {"upstream.json": json.dumps(body, separators=(",", ":")).encode()}
    return secret_document(SYSTEM_NAMESPACE, name, data, type_=HANDOFF_TYPE, labels=labels)


def decode_handoff(document: Mapping[str, Any]) -> Handoff:
    """Read what `encode_handoff` wrote. Raises ValueError, which reveals no content."""
    body = read_secret_json(document, "upstream.json")
    try:
        credentials = None
        if body["kind"] == "Basic":
            expires = body.get("expiresAt")
            credentials = Credentials(
                username=str(body["username"]),
                password=str(body["password"]),
                expires_at=parse_time(expires) if expires else None,
            )
        elif body["kind"] != "Anonymous":
            raise ValueError("another kind of credentials than this version knows")
        issued = body.get("issued") or {}
        return Handoff(
            namespace=str(body["namespace"]),
            name=str(body["name"]),
            uid=str(body["uid"]),
            generation=int(body["generation"]),
            credentials=credentials,
            ca_pem=body.get("caPEM"),
            kind=str(issued.get("kind", "")),
            source=str(issued.get("source", "")),
            refreshed_at=parse_time(issued["at"]) if issued else None,
            host=str(issued.get("host", "")),
            networks=read_networks(map(str, body.get("networks") or ())),
            max_requests=int(body["maxRequests"]) if "maxRequests" in body else None,
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"upstream.json lacks a field or has a wrong one: {type(error).__name__}") from None


def encode_signing_keys(keys: Iterable[TokenKey]) -> dict[str, Any]:
    """The Secret's document; newest key first."""
    rows = [
        {
            "id": key.id,
            "key": base64.urlsafe_b64encode(key.key).rstrip(b"=").decode(),
            "createdAt": format_time(key.created_at),
            "notAfter": format_time(key.not_after),
        }
        for key in sorted(keys, key=lambda k: k.created_at, reverse=True)
    ]
    data = {"keys.json": json.dumps(rows, separators=(",", ":")).encode()}
    return secret_document(SYSTEM_NAMESPACE, SIGNING_KEYS_NAME, data, labels=MANAGED_BY)


def decode_signing_keys(document: Mapping[str, Any]) -> tuple[TokenKey, ...]:
    """Read what `encode_signing_keys` wrote. Raises ValueError, which reveals no content."""
    rows = read_secret_json(document, "keys.json")
    try:
        keys = tuple(
            TokenKey(
                id=str(row["id"]),
                key=base64.urlsafe_b64decode(row["key"] + "=" * (-len(row["key"]) % 4)),
                created_at=parse_time(row["createdAt"]),
                not_after=parse_time(row["notAfter"]),
            )
            for row in rows
        )
    except (KeyError, TypeError, binascii.Error) as error:
        raise ValueError(f"keys.json lacks a field or has a wrong one: {type(error).__name__}") from None
    if any(len(key.key) < 32 for key in keys):
        raise ValueError("keys.json holds a key of under 32 bytes")
    return keys


def secret_document(
    namespace: str,
    name: str,
    data: Mapping[str, bytes],
    *,
    type_: str = "Opaque",
    labels: Mapping[str, str] | None = None,
    owner: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A Pullgate Secret. `owner` (apiVersion, kind, name, uid) is in its namespace; the Secret is deleted with it."""
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "labels": dict(labels or MANAGED_BY)}
    if owner is not None:
        metadata["ownerReferences"] = [{**owner, "controller": True}]
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": type_,
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def secret_data(document: Mapping[str, Any]) -> dict[str, bytes]:
    """A Secret's decoded data. Raises ValueError, which reveals no content."""
    try:
        return {key: base64.b64decode(value, validate=True) for key, value in (document.get("data") or {}).items()}
    except (binascii.Error, TypeError, ValueError, AttributeError):
        raise ValueError("its data is not base64") from None


def read_secret_json(document: Mapping[str, Any], key: str, limit: int | None = None) -> Any:
    """The JSON under `key` of a Secret, of at most `limit` bytes. Raises ValueError, which reveals no content."""
    raw = secret_data(document).get(key)
    if raw is None:
        raise ValueError(f"there is no {key} in it")
    if limit is not None and len(raw) > limit:
        raise ValueError(f"{key} has more than {limit} bytes")
    try:
        return read_json(raw)
    except ValueError:
        raise ValueError(f"{key} is not JSON") from None
