"""Settings as a document, from the supervisor to its workers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final

from pullgate_proxy.cache.objects import Location
from pullgate_proxy.memory import find_memory_limit
from pullgate_proxy.settings import ProxySettings, parse_networks

_PATHS: Final = frozenset({"tls_cert", "tls_key", "blob_cache"})
_SHARED_OUT: Final = ("manifest_cache", "max_requests", "max_connections", "grant_limit")
"""Settings that are bounds for all workers together: each worker gets an equal share."""


def settings_document(settings: ProxySettings, port: int) -> dict[str, Any]:
    """For each worker; `port` is the one that was reserved."""
    document: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, Path):
            value = str(value)
        elif isinstance(value, Location):
            value = dataclasses.asdict(value)
        elif field.name == "trusted_proxies":
            value = [str(network) for network in value]
        document[field.name] = value
    for name in _SHARED_OUT:
        document[name] //= settings.workers
    memory = settings.max_memory or find_memory_limit()
    # Each process measures its own memory; the supervisor counts as one more.
    document["max_memory"] = memory // (settings.workers + 1) if memory is not None else None
    return {**document, "listen_port": port, "share_port": True, "peers": [], "workers": 1}


def read_settings(document: dict[str, Any]) -> ProxySettings:
    """The settings in a document of `settings_document`."""
    found = dict(document)
    for name in _PATHS:
        found[name] = Path(found[name]) if found[name] is not None else None
    found["trusted_proxies"] = parse_networks(tuple(found["trusted_proxies"]))
    found["object_store"] = Location(**found["object_store"]) if found["object_store"] is not None else None
    found["peers"] = ()
    found["peer_fetch"] = tuple((host, port) for host, port in found["peer_fetch"])
    found["peer_listen"] = tuple(found["peer_listen"])
    return ProxySettings(**found)
