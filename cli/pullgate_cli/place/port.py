"""The interface of a place, as commands use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pullgate.store.port import Document, Key


class PlaceError(Exception):
    """The place cannot be read or changed; the message says what to do."""


class NotThere(PlaceError):
    """There is no such resource."""


class Place(Protocol):
    """Reads and changes resources. Each method raises PlaceError."""

    @property
    def namespace(self) -> str:
        """The namespace that is meant if none is named. Raises PlaceError if several could be meant."""
        ...

    @property
    def title(self) -> str:
        """The place in words, for people."""
        ...

    async def list(self, kind: str, namespace: str | None) -> list[Document]:
        """All documents of `kind`, of one namespace or (None) of all, by namespace and name."""
        ...

    async def get(self, key: Key) -> Document | None:
        """A document, or None."""
        ...

    async def fresh(self, key: Key) -> Document | None:
        """A document as it is now, whatever was read before."""
        ...

    async def create(self, document: Document) -> str:
        """Create a resource; returns what was done, in words. Raises PlaceError if it exists already."""
        ...

    async def change(self, key: Key, patch: Mapping[str, Any]) -> str:
        """A JSON merge patch (RFC 7396); what was done, in words. Raises NotThere."""
        ...


async def words_for_nothing(place: Place, kinds: Sequence[str], namespace: str | None) -> str:
    """`there is no License in nosuch; there are some in my-app`: a list of `kinds` that is empty, explained."""
    named = " or ".join(filter(None, (", ".join(kinds[:-1]), kinds[-1])))
    words = f"there is no {named} in {namespace or place.title}"
    if namespace is None:
        return words
    try:
        apps = {d["metadata"]["namespace"] for kind in kinds for d in await place.list(kind, None)}
    except PlaceError:  # few may list every namespace
        return words
    return f"{words}; there are some in {', '.join(sorted(apps)[:10])}" if apps else words


async def require(place: Place, kind: str, name: str) -> Document:
    """The resource `name` of the place's namespace. Raises NotThere, PlaceError."""
    found = await place.get(Key(kind, place.namespace, name))
    if found is None:
        there = [d["metadata"]["name"] for d in await place.list(kind, place.namespace)]
        known = f"; there are {', '.join(there[:10])}" if there else ""
        raise NotThere(f"there is no {kind} {name} in {place.namespace}{known}")
    return found
