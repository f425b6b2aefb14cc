"""Things that wait, served by namespace in turn: a namespace with many holds up no other."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from pullgate.store.port import Key

V = TypeVar("V")


class Rounds(Generic[V]):
    """Keys of documents, each with a value. Within a namespace the first that came is the first that goes."""

    def __init__(self) -> None:
        self._namespaces: OrderedDict[str, OrderedDict[Key, V]] = OrderedDict()
        """The namespace that is served next is first."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: Key) -> bool:
        return key in self._namespaces.get(key.namespace, ())

    def put(self, key: Key, value: V) -> None:
        """Add `key` at the end of its namespace's; one that waits already keeps its place, with the new value."""
        entries = self._namespaces.setdefault(key.namespace, OrderedDict())
        self._count += key not in entries
        entries[key] = value

    def discard(self, key: Key) -> None:
        """Take `key` out, if it waits."""
        if key not in self:
            return
        entries = self._namespaces[key.namespace]
        del entries[key]
        self._count -= 1
        if not entries:
            del self._namespaces[key.namespace]

    def take(self) -> tuple[Key, V]:
        """The next one. Raises KeyError if none waits."""
        namespace, entries = self._namespaces.popitem(last=False)
        taken = entries.popitem(last=False)
        self._count -= 1
        if entries:
            self._namespaces[namespace] = entries
        return taken
