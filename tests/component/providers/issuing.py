"""Asking an exchange for its token as the operator does, and what its failure may never hold."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pullgate.policy.tenancy import LOOPBACK
from pullgate.providers.exchange import Exchange, ExchangeFailed, Issued, Tools
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.exchange_http import ExchangeHttp

CANARY = "CANARY-aB3xY9"
ASKED: list[tuple[str, str, str]] = []
"""Namespace, ServiceAccount and audience of each token of Kubernetes."""


async def issue(exchange: Exchange, host: str, ca_pem: str | None = None) -> Issued:
    """The token."""

    async def token(namespace: str, name: str, audience: str) -> str:
        ASKED.append((namespace, name, audience))
        return f"JWT-{CANARY}"

    config = UpstreamConfig("my-app/up", host, host, ca_pem=ca_pem, networks=LOOPBACK)
    return await exchange.issue(Tools(ExchangeHttp(config), lambda: datetime.now(UTC), token))


async def failure(exchange: Exchange, host: str, ca_pem: str | None = None) -> ExchangeFailed:
    """The failure of an exchange. Asserts that it names a fix and holds no secret."""
    with pytest.raises(ExchangeFailed) as caught:
        await issue(exchange, host, ca_pem)
    assert CANARY not in str(caught.value) + repr(exchange) + exchange.source
    assert caught.value.fix
    return caught.value
