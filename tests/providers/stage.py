"""A provider's front, and a Pullgate whose Registry is of its type."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pullgate.providers.credentials import Credentials
from pullgate.providers.resolve import resolve_credentials
from tests.support.fakes.flavours import FLAVOURS, LOGINS
from tests.support.fakes.front import Front
from tests.support.gate import APP, Gate, license_, registry, running
from tests.support.images import image, index

TIMEOUTS = {"connect_timeout": 2.0, "first_byte_timeout": 5.0, "idle_timeout": 5.0}
SMALL = index([image(f"small {architecture}", architecture=architecture) for architecture in ("amd64", "arm64")])
LARGE = image("large", layers=1, layer_size=1_500_000)


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a test of one type needs."""

    type: str
    front: Front
    gate: Gate
    username: str
    password: str

    def reference(self, name: str = "small") -> str:
        """The image reference that a client pulls."""
        return f"{self.gate.host}/proxy/{APP}/up/{self.front.flavour.prefix}my-org/{name}:1"

    def path(self, name: str = "small") -> str:
        """The manifest's path at the proxy."""
        return f"/v2/proxy/{APP}/up/{self.front.flavour.prefix}my-org/{name}/manifests/1"


def opaque(name: str, data: dict[str, str]) -> dict[str, Any]:
    """An Opaque Secret."""
    metadata = {"name": name, "namespace": APP}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": data}


@contextlib.asynccontextmanager
async def world_of(type_: str, upstream: str, directory: Path, **changed: str) -> AsyncIterator[World]:
    """A Registry of `type_` with its static login; `changed` are keys of its Secret that are wrong."""
    async with Front(FLAVOURS[type_], upstream) as front:
        right = resolve_credentials(type_, "Opaque", {k: v.encode() for k, v in LOGINS[type_].items()}, front.host)
        assert isinstance(right, Credentials)
        front.accept(right.username, right.password)
        async with running(
            directory / "resources",
            opaque("vendor", {**LOGINS[type_], **changed}),
            registry_of(type_, front),
            license_("acme"),
            **TIMEOUTS,
        ) as gate:
            yield World(type_, front, gate, right.username, right.password)


def registry_of(type_: str, front: Front, **spec: Any) -> dict[str, Any]:
    """A Registry at the front."""
    network = {"allowPrivate": True, "realmHosts": [front.token_host]}
    return registry("up", front.host, secret="vendor", type=type_, network=network, **spec)
