"""Events of Namespaces, whose annotations hold the administrator's rules for the apps in them."""

from __future__ import annotations

from typing import Any

import kopf

from pullgate.store.cluster.kinds import PLURALS
from pullgate_operator.handlers.hub import HANDLERS, hub_of


@kopf.on.event("v1", PLURALS["Namespace"], registry=HANDLERS)
async def take_namespace(event: kopf.RawEvent, memo: Any, **_: Any) -> None:
    """A Namespace was listed, added, changed or deleted."""
    hub_of(memo).take("Namespace", event)
