"""A proxy in one process, or several with a supervisor: whichever the settings say."""

from __future__ import annotations

from typing import Protocol

from pullgate.store.cluster.reflector import Contact
from pullgate_proxy.app import Proxy
from pullgate_proxy.settings import ProxySettings
from pullgate_proxy.state.watch import Watched
from pullgate_proxy.usage import UsageBook
from pullgate_proxy.workers.supervisor import Supervisor


class Server(Protocol):
    """What serves."""

    port: int
    admin_port: int

    @property
    def usage(self) -> UsageBook:
        """What Licenses used."""
        ...

    async def start(self) -> None:
        """Listen. Raises CannotListen where a port is taken, InvalidSettings for files that do not work."""

    async def stop(self) -> None:
        """Stop accepting, let bodies finish up to the drain bound, close everything."""


def build_server(settings: ProxySettings, store: Watched, contact: Contact | None = None) -> Server:
    """`contact` tells whether the cluster is heard; None where there is none."""
    if settings.workers > 1:
        return Supervisor(settings, store, contact)
    return Proxy(settings, store, contact=contact)
