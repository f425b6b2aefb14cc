"""One upstream client for each Registry, made anew when its settings or credentials change."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from dataclasses import dataclass

from pullgate.faults import CredentialsMissing, NotEntitled, RegistrySuspended
from pullgate.policy.facts import RegistryFacts
from pullgate.providers.destination import may_show
from pullgate.providers.handoff import Handoff
from pullgate.resources.fields import format_time
from pullgate.shares import Shares
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.refusals import Refusals
from pullgate_proxy.cache.where import Where
from pullgate_proxy.settings import ProxySettings
from pullgate_proxy.state.snapshot import Name, Snapshot

RETIRE_SECONDS = 900.0
"""How long a replaced client's running bodies may go on."""


@dataclass(frozen=True, slots=True)
class _Live:
    config: UpstreamConfig
    entry: object
    handoff: Handoff
    upstream: Upstream


class Upstreams:
    """The live clients. Not more than there are Registries."""

    def __init__(self, snapshot: Snapshot, settings: ProxySettings, bodies: Shares) -> None:
        """`bodies` is what manifests and lists of all of them may take of the memory."""
        self._snapshot, self._bodies = snapshot, bodies
        self._bounds = settings.connect_timeout, settings.first_byte_timeout, settings.idle_timeout
        self._refusals = Refusals(time.monotonic)
        """Logins that were refused, to whichever Registry they belong: upstreams ban the address of all."""
        self._live: dict[Name, _Live] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    def get(self, registry: RegistryFacts) -> Upstream:
        """The client for `registry` as it is now. Raises RegistrySuspended, CredentialsMissing."""
        name = (registry.namespace, registry.name)
        entry, handoff = self._snapshot.entry(registry), self._snapshot.handoff(registry)
        if entry is None:
            raise NotEntitled("", registry.name)
        if registry.suspended:
            raise RegistrySuspended(registry.name)
        if handoff is None:
            raise CredentialsMissing(registry.name)
        live = self._live.get(name)
        if live is not None and live.entry is entry and live.handoff is handoff:
            return live.upstream
        config: UpstreamConfig = entry.upstream
        issued = bool(handoff.source)
        moved = bool(handoff.host) and handoff.host != config.host
        if issued and (moved or not may_show(handoff.kind, config.host, plain_http=config.plain_http)):
            # The Registry was changed, and the operator did not see that yet: the token is for what it was before.
            raise CredentialsMissing(registry.name)
        config = dataclasses.replace(
            config,
            credentials=handoff.credentials,
            ca_pem=handoff.ca_pem,
            networks=handoff.networks,
            issued=issued,
            timeouts=config.timeouts.changed(*self._bounds),
        )
        if live is not None and live.config == config:
            upstream = live.upstream
        else:
            self._retire(name)
            upstream = Upstream(config, budget=self._bodies, refusals=self._refusals)
        self._live[name] = _Live(config, entry, handoff, upstream)
        return upstream

    def token_time(self, name: Name) -> str | None:
        """When the token was issued (RFC 3339) that the client for `name` shows; None if it is no issued one."""
        live = self._live.get(name)
        issued = live.handoff.refreshed_at if live is not None else None
        return format_time(issued) if issued is not None else None

    def where(self, registry: RegistryFacts) -> Where:
        """The Where of `registry`. It includes the uid: a Registry created anew under the same name is another one."""
        live = self._live[registry.namespace, registry.name]
        identity = (registry.namespace, registry.name, live.handoff.uid)
        return Where(
            identity,
            live.config.wire_host,
            registry.tag_ttl,
            registry.stale_if_error,
            blobs=registry.keeps_blobs,
            prefetch=registry.prefetches,
        )

    def down(self) -> list[Name]:
        """The Registries whose upstream does not answer, and is left alone for a while."""
        return [name for name, live in self._live.items() if live.upstream.is_down]

    def forget(self, name: Name) -> None:
        """A Registry that is gone."""
        self._retire(name)

    async def close(self) -> None:
        """Close all clients at once."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        for live in self._live.values():
            await live.upstream.close()
        self._live.clear()

    def _retire(self, name: Name) -> None:
        live = self._live.pop(name, None)
        if live is not None:
            task = asyncio.create_task(_close_later(live.upstream))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)


async def _close_later(upstream: Upstream) -> None:
    try:
        await asyncio.sleep(RETIRE_SECONDS)
    finally:
        await upstream.close()
