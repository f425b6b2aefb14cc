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
    """The running proxy: one process, or a supervisor with its workers."""

    port: int
    admin_port: int

    @property
    def usage(self) -> UsageBook:
        """The usage of the Licenses."""
        ...

    async def start(self) -> None:
        """Listen. Raises CannotListen if a port is taken, InvalidSettings for files that do not work."""

    async def stop(self) -> None:
        """Stop accepting, let bodies finish up to the drain bound, close everything."""


def build_server(settings: ProxySettings, store: Watched, contact: Contact | None = None) -> Server:
    """Build the proxy for `settings`. `contact` reports the connection to the cluster; None without a cluster."""
    if settings.workers > 1:
        return Supervisor(settings, store, contact)
    return Proxy(settings, store, contact=contact)
