"""Events of Registries."""

from __future__ import annotations

from typing import Any

import kopf

from pullgate.resources.model import API_VERSION
from pullgate.store.cluster.kinds import PLURALS
from pullgate_operator.handlers.hub import HANDLERS, hub_of


@kopf.on.event(API_VERSION, PLURALS["Registry"], registry=HANDLERS)
async def take_registry(event: kopf.RawEvent, memo: Any, **_: Any) -> None:
    """A Registry was listed, added, changed or deleted."""
    hub_of(memo).take("Registry", event)
