"""The proxy on a cluster: follow its resources, answer pulls until a signal."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pullgate.providers.handoff import SYSTEM_NAMESPACE
from pullgate.store.cluster.api import Api
from pullgate.store.cluster.reflector import Contact, reflect
from pullgate.store.cluster.store import ClusterStore
from pullgate_proxy.app import Proxy
from pullgate_proxy.listen.connections import raise_descriptor_limit
from pullgate_proxy.listen.stop import stop_on_signals
from pullgate_proxy.settings import ProxySettings

SCOPES = {"Registry": None, "License": None, "Secret": SYSTEM_NAMESPACE}
"""The kinds that the proxy may read, with their namespace (None: all): no Secret of any app."""


async def serve_cluster(settings: ProxySettings, kubeconfig: Path | None) -> None:
    """Serve until SIGINT or SIGTERM; a second one ends the drain.

    Raises NotConnected, CannotListen where a port is taken, InvalidSettings for files that do not work.
    """
    stopped = stop_on_signals()
    raise_descriptor_limit()
    async with await Api.load(kubeconfig) as api:
        store, contact = ClusterStore(api, SCOPES, "pullgate-proxy", lean=True), Contact()
        proxy = Proxy(settings, store, contact=contact)
        await proxy.start()
        following = [asyncio.create_task(reflect(api, store, kind, contact)) for kind in SCOPES]
        try:
            await stopped.wait()
            await proxy.stop()
        finally:
            for each in following:
                each.cancel()
            await asyncio.gather(*following, return_exceptions=True)
