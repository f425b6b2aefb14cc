"""YAML text -> nodes that know their line, document by document.

Not PyYAML's composer: libyaml's parser keeps its own stack, but the composer on top of it recurses in C, and a text of
opening brackets ends the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

DEPTH_LIMIT = 100
SHORT = 8_000
"""Characters. libyaml's composer was seen to end the process at 40,000 levels, and not at 20,000."""
NODE_LIMIT = 1_000_000
"""Nodes of one document."""

UNFOLDED_LIMIT = 100_000
"""Values of a document with its aliases written out; more only where they are written out."""
_UNFOLDED_RATIO = 10

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE_DEPTH = 8


class BrokenYAML(ValueError):
    """Text that is no YAML, or breaks a bound; the message repeats none of it."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        super().__init__(message)


@dataclass(slots=True, eq=False)
class Node:
    """A scalar, a list, or a mapping. An alias is the very node that it names, so the graph may have rings."""

    line: int
    """From 1."""
    text: str | None = None
    """A scalar's text."""
    is_text: bool = False
    """True if the scalar is a string, and not a number, a truth value, a date or null."""
    items: list[Node] | None = field(default=None, repr=False)
    """Elements of a list, or a mapping's keys and values in turn."""
    is_mapping: bool = False

    def get(self, key: str) -> Node | None:
        """The value of `key` in a mapping, also where it comes by a merge (`<<`); of repeated keys the last counts."""
        return _find(self, key, 0)

    def elements(self) -> list[Node]:
        """A list's; none of anything else."""
        return [] if self.is_mapping or self.items is None else self.items

    def string(self, key: str) -> str:
        """The text of `key`, "" where there is none."""
        found = self.get(key)
        return found.text or "" if found is not None and found.is_text else ""


def require_shallow(text: str) -> None:
    """Raise BrokenYAML for text that is nested deeper than `DEPTH_LIMIT`, before a loader that recurses sees it.

    Short text is not looked at: it cannot be deep enough to end the process.
    """
    if len(text) < SHORT:
        return
    depth, line = 0, 1
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            line = _line(event)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEPTH_LIMIT:
                raise BrokenYAML(line, "is nested too deep")
    except yaml.YAMLError:
        return  # the loader says it better


def load_plain(text: str, loader: Any) -> Any:
    """The one document of `text`, by a loader that makes plain values only. Raises yaml.YAMLError, BrokenYAML."""
    require_shallow(text)
    try:
        value = yaml.load(text, Loader=loader)  # noqa: S506 - a SafeLoader
    except RecursionError:
        raise BrokenYAML(1, "is nested too deep") from None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError):
        # PyYAML's constructors raise these for `!!int x`, `0x_` or 2026-99-99.
        raise BrokenYAML(1, "holds a value that is not what it looks like or what its tag says") from None
    if "*" in text:
        _require_bounded(value)
    return value


def _require_bounded(value: Any) -> None:
    """Raise BrokenYAML where aliases make a value endless, or many times what was written: it is shown and compared."""
    sizes: dict[int, int] = {}
    written = 0

    def measure(part: Any) -> int:
        nonlocal written
        if not isinstance(part, dict | list):
            written += 1
            return 1
        known = sizes.get(id(part))
        if known is None:
            sizes[id(part)] = _OPEN
            known = sizes[id(part)] = 1 + sum(map(measure, part.values() if isinstance(part, dict) else part))
        elif known is _OPEN:
            raise BrokenYAML(1, "holds itself by an alias")
        return known

    try:
        total = measure(value)
    except RecursionError:
        raise BrokenYAML(1, "is nested too deep") from None
    if total > UNFOLDED_LIMIT and total > _UNFOLDED_RATIO * (written + len(sizes)):
        raise BrokenYAML(1, "its aliases unfold to too much")


_OPEN = -1
"""The size of a part that is being measured."""


def read_nodes(data: bytes) -> Iterator[Node]:
    """The documents of `data` (UTF-8) that hold anything. Raises BrokenYAML when it comes to a mistake."""
    events = yaml.parse(data, Loader=_LOADER)
    line = 1
    try:
        for event in events:
            line = _line(event)
            if isinstance(event, yaml.DocumentStartEvent):
                root = _read_document(events)
                if root.items is not None or root.text:
                    yield root
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        last = data.count(b"\n") + 1  # the mark of an early end stands behind it
        raise BrokenYAML(min(mark.line + 1, last) if mark else line, error.problem or "is no YAML") from None
    except yaml.YAMLError:
        raise BrokenYAML(line, "a character that YAML does not allow") from None


def _read_document(events: Iterator[yaml.Event]) -> Node:
    open_nodes: list[Node] = []
    anchors: dict[str, Node] = {}
    count = 0
    for event in events:
        line = _line(event)
        if isinstance(event, yaml.CollectionEndEvent):
            node = open_nodes.pop()
            if not open_nodes:
                return node
            continue
        assert isinstance(event, yaml.NodeEvent)  # noqa: S101 - libyaml ends each document with its root
        count += 1
        if count > NODE_LIMIT or len(open_nodes) >= DEPTH_LIMIT:
            raise BrokenYAML(line, "is nested too deep" if count <= NODE_LIMIT else "holds too much")
        node = _build(event, line, anchors)
        if open_nodes:
            items = open_nodes[-1].items
            assert items is not None  # noqa: S101 - only collections are open
            items.append(node)
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append(node)
        elif not open_nodes:
            return node
    raise BrokenYAML(1, "ends too early")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


def _build(event: yaml.NodeEvent, line: int, anchors: dict[str, Node]) -> Node:
    if isinstance(event, yaml.AliasEvent):
        if event.anchor not in anchors:
            raise BrokenYAML(line, "names an anchor that does not stand before it")
        return anchors[event.anchor]
    if isinstance(event, yaml.ScalarEvent):
        plain = event.implicit[0] and event.tag is None
        node = Node(line, event.value, is_text=not plain or _is_text(event.value))
    else:
        node = Node(line, items=[], is_mapping=isinstance(event, yaml.MappingStartEvent))
    if event.anchor:
        anchors[event.anchor] = node
    return node


def _is_text(plain: str) -> bool:
    """True if YAML reads the unquoted scalar `plain` as a string."""
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers.get(plain[:1], ())
    return not any(pattern.match(plain) for _, pattern in resolvers)


def _find(node: Node, key: str, depth: int) -> Node | None:
    if not node.is_mapping or node.items is None or depth > _MERGE_DEPTH:
        return None
    found: Node | None = None
    merged: list[Node] = []
    for name, value in zip(node.items[::2], node.items[1::2], strict=False):
        if name.text == key:
            found = value
        elif name.text == "<<":
            merged += [value] if value.is_mapping else value.elements()
    if found is None:
        found = next(filter(None, (_find(other, key, depth + 1) for other in merged[:16])), None)
    return found
