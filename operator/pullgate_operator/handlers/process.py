"""kopf's start and stop, and its credentials."""

from __future__ import annotations

from typing import Any

import kopf

from pullgate_operator.handlers.hub import HANDLERS, hub_of


@kopf.on.startup(registry=HANDLERS, errors=kopf.ErrorsMode.PERMANENT)
async def begin(memo: Any, **_: Any) -> None:
    """Everything is listed before the first event comes."""
    await hub_of(memo).begin()


@kopf.on.cleanup(registry=HANDLERS)
async def end(memo: Any, **_: Any) -> None:
    """Nothing is written once kopf is gone."""
    await hub_of(memo).end()


@kopf.on.login(registry=HANDLERS)
async def log_in(memo: Any, **_: Any) -> kopf.AiohttpSession:
    """With the credentials that the rest of the operator has."""
    return hub_of(memo).log_in()
