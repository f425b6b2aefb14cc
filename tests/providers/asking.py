"""A front, and the client of it: for tests of one request, without a proxy."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable

from pullgate.oci.manifest import MANIFEST_TYPES
from pullgate.policy.tenancy import LOOPBACK
from pullgate.providers.credentials import Credentials
from pullgate.providers.resolve import resolve_credentials
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.request import UpstreamRequest
from tests.providers.stage import SMALL
from tests.support.fakes.flavours import FLAVOURS, LOGINS
from tests.support.fakes.front import Flavour, Front

REPOSITORY = "my-org/small"
CHILD = SMALL.children[0]


@contextlib.asynccontextmanager
async def asking(
    type_: str, held: str, login: dict[str, str] | None = None, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[tuple[Front, Upstream]]:
    """A front of `type_`, and the client of it with the right login."""
    data = {k: v.encode() for k, v in (login or LOGINS[type_]).items()}
    found = resolve_credentials(type_, "Opaque", data, "registry.example")
    assert isinstance(found, Credentials)
    async with asking_flavour(FLAVOURS[type_], held, found, clock) as opened:
        yield opened


@contextlib.asynccontextmanager
async def asking_flavour(
    flavour: Flavour, held: str, login: Credentials, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[tuple[Front, Upstream]]:
    """A front of `flavour` that accepts `login`, and the client of it."""
    async with Front(flavour, held) as front:
        front.accept(login.username, login.password)
        config = UpstreamConfig(
            "my-app/up",
            front.host,
            front.host,
            login,
            plain_http=True,
            allow_private=True,
            realm_hosts=frozenset({front.token_host}),
            networks=LOOPBACK,
        )
        async with Upstream(config, clock=clock) as upstream:
            yield front, upstream


def manifest(
    front: Front,
    method: str = "GET",
    reference: str = "1",
    accept: tuple[str, ...] = MANIFEST_TYPES,
    name: str = REPOSITORY,
) -> UpstreamRequest:
    """A request for the manifest of `name`."""
    return UpstreamRequest(method, front.flavour.prefix + name, "manifests", reference, accept=accept)  # type: ignore[arg-type]


def blob(front: Front, method: str = "GET") -> UpstreamRequest:
    """A request for a blob of the small image."""
    return UpstreamRequest(method, front.flavour.prefix + REPOSITORY, "blobs", CHILD.config)  # type: ignore[arg-type]
