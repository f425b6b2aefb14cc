"""Events of Secrets: those with credentials, and the operator's own."""

from __future__ import annotations

from typing import Any

import kopf

from pullgate.store.cluster.kinds import PLURALS
from pullgate_operator.handlers.hub import HANDLERS, hub_of


@kopf.on.event("v1", PLURALS["Secret"], registry=HANDLERS)
async def take_secret(event: kopf.RawEvent, memo: Any, **_: Any) -> None:
    """A Secret was listed, added, changed or deleted."""
    hub_of(memo).take("Secret", event)
