"""Events of Licenses."""

from __future__ import annotations

from typing import Any

import kopf

from pullgate.resources.model import API_VERSION
from pullgate.store.cluster.kinds import PLURALS
from pullgate_operator.handlers.hub import HANDLERS, hub_of


@kopf.on.event(API_VERSION, PLURALS["License"], registry=HANDLERS)
async def take_license(event: kopf.RawEvent, memo: Any, **_: Any) -> None:
    """A License was listed, added, changed or deleted."""
    hub_of(memo).take("License", event)
