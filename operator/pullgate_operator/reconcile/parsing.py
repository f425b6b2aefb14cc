"""Documents that tenants wrote, as resources, without holding up the event loop."""

from __future__ import annotations

from functools import partial

from pullgate.resources import Resource, parse_resource
from pullgate.store.port import Document
from pullgate.turns import DOCUMENT_INLINE, aside, weigh


async def read_resource(document: Document) -> Resource:
    """The resource in `document`; a large one is read in a thread. Raises InvalidResource."""
    return await aside(weigh(document), partial(parse_resource, document), inline=DOCUMENT_INLINE)
