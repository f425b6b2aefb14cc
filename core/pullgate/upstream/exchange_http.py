"""HTTP for exchanges: `pullgate.providers.exchange.Http` over the guarded transport of an upstream."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from yarl import URL

from pullgate import faults
from pullgate.providers.exchange import Exchange, ExchangeFailed, Issued, Reply, Tools
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.failures import Transient
from pullgate.upstream.guard import Guard
from pullgate.upstream.request import UpstreamResponse
from pullgate.upstream.transport import Transport

ANSWER_LIMIT: Final = 64 * 1024


async def issue_now(exchange: Exchange, config: UpstreamConfig) -> Issued:
    """A token for one use, where there is no cluster to ask for a ServiceAccount's. Raises ExchangeFailed."""

    async def no_service_account(namespace: str, name: str, _: str) -> str:
        fix = "run the command where the operator runs, or look at the Registry's conditions"
        raise ExchangeFailed("IdentityMissing", f"no token of ServiceAccount {name} of {namespace} here", fix)

    return await exchange.issue(Tools(ExchangeHttp(config), lambda: datetime.now(UTC), no_service_account))


class ExchangeHttp:
    """Asks hosts on behalf of one Registry, with its CA; plain HTTP only if the Registry allows it."""

    def __init__(self, config: UpstreamConfig) -> None:
        self._config = dataclasses.replace(config, credentials=None, realm_hosts=frozenset())

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: Mapping[str, str] | bytes | None = None
    ) -> Reply:
        """Return the answer, whatever its status; follows no redirect. Raises ExchangeFailed if there is none."""
        target = URL(url)
        host = target.authority
        if target.scheme != "https" and not (target.scheme == "http" and self._config.plain_http):
            raise ExchangeFailed("ExchangeUnreachable", f"{host} is not asked by {target.scheme}", "use https")
        config = dataclasses.replace(self._config, host=host, wire_host=host, plain_http=target.scheme == "http")
        guard = Guard(config)
        if not guard.literal_is_allowed(target):
            raise ExchangeFailed("ExchangeUnreachable", f"{host} is a private address", "use another host")
        transport = Transport(config, guard)
        try:
            raw = await transport.exchange(method, target, headers, body)
            response = UpstreamResponse(raw, host, config.timeouts.idle)
            answer = await response.read(ANSWER_LIMIT)
            lines = {name.lower(): ", ".join(raw.headers.getall(name)) for name in raw.headers}
            return Reply(raw.status, lines, answer)
        except Transient as error:
            fault = error.fault
        except faults.Fault as error:
            fault = error
        finally:
            await transport.close()
        raise ExchangeFailed("ExchangeUnreachable", fault.message, "check egress to it; it is tried again")
