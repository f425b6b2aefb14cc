"""Events of CustomResourceDefinitions: whether the API server knows our kinds."""

from __future__ import annotations

from typing import Any

import kopf

from pullgate.resources.model import API_VERSION
from pullgate_operator.handlers.hub import HANDLERS, hub_of


def is_ours(spec: kopf.Spec, **_: Any) -> bool:
    """True if the CRD is of our group."""
    return bool(spec.get("group") == API_VERSION.partition("/")[0])


@kopf.on.event("apiextensions.k8s.io", "v1", "customresourcedefinitions", when=is_ours, registry=HANDLERS)
async def take_crd(event: kopf.RawEvent, spec: kopf.Spec, memo: Any, **_: Any) -> None:
    """A CRD was listed, added, changed or deleted."""
    hub_of(memo).note_kind(spec["names"]["kind"], present=event["type"] != "DELETED")
