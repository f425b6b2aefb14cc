"""Text -> documents, each on its own: a mistake in one leaves its neighbours readable. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from pullgate.oci.json_text import TooDeep, TooMuch, read_json
from pullgate.oci.yaml_nodes import BrokenYAML, load_plain
from pullgate.resources.fields import is_label, is_subdomain
from pullgate.resources.model import API_VERSION
from pullgate.resources.parse import InvalidResource, describe, parse_resource
from pullgate.resources.secret import Secret
from pullgate.store.port import KINDS, Document, Key

_SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_GROUP = API_VERSION.partition("/")[0]
_LIST_DEPTH = 3
_JSON_SCALE = 16
"""A file may hold thousands of Licenses as one list, and is read in a thread."""


@dataclass(frozen=True, slots=True)
class FileProblem:
    """One mistake in a file, for people."""

    file: str
    line: int
    message: str
    """Subject, field, what is wrong and the fix in one line; no value of a Secret."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Found:
    """A good document and its line."""

    document: Document
    line: int


@dataclass(slots=True)
class FileContent:
    """The content of a file."""

    documents: dict[Key, Found]
    problems: list[FileProblem]
    bad: set[Key]
    """Resources that the file holds with mistakes."""
    unreadable: bool = False
    """True if some part has no readable name, so that a missing resource may be in it."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    text: str
    first_line: int


def read_documents(text: str, file: str) -> FileContent:
    """The resources in `text`, the content of `file`. Objects of other kinds (a Namespace) are passed over."""
    content = FileContent({}, [], set())
    chunks = [_Chunk(text, 1)] if file.endswith(".json") else list(_split(text))
    for chunk in chunks:
        try:
            loaded = read_json(chunk.text, scale=_JSON_SCALE) if file.endswith(".json") else load_yaml(chunk.text)
        except (yaml.YAMLError, ValueError) as error:
            line, message = _explain(error)
            content.problems.append(FileProblem(file, chunk.first_line + line, message))
            content.unreadable = True
            continue
        if loaded is not None:
            _add(loaded, (), chunk, file, content)
    _compose.cache_clear()
    return content


def _add(loaded: Any, path: tuple[str | int, ...], chunk: _Chunk, file: str, content: FileContent) -> None:
    if not isinstance(loaded, dict):
        content.problems.append(FileProblem(file, _line(chunk, path), "is not an object with apiVersion and kind"))
        content.unreadable = True
    elif str(loaded.get("kind", "")).endswith("List") and isinstance(loaded.get("items"), list):
        if len(path) < _LIST_DEPTH * 2:
            for index, item in enumerate(loaded["items"]):
                _add(item, (*path, "items", index), chunk, file, content)
    elif _is_ours(loaded):
        _add_resource(loaded, path, chunk, file, content)


def _is_ours(document: Mapping[str, Any]) -> bool:
    """True if it is for Pullgate or meant to be: a misspelt kind of our group is reported, not another group's."""
    kind, version = document.get("kind"), document.get("apiVersion")
    return not isinstance(kind, str) or kind in KINDS or version is None or str(version).partition("/")[0] == _GROUP


def _add_resource(
    document: Document, path: tuple[str | int, ...], chunk: _Chunk, file: str, content: FileContent
) -> None:
    document.pop("status", None)
    key = _key_of(document)
    try:
        resource = parse_resource(document)
    except InvalidResource as error:
        for mistake in error.errors:
            message = f"{error.subject}: {mistake}"
            content.problems.append(FileProblem(file, _line(chunk, (*path, *mistake.path)), message))
        if key is None:
            content.unreadable = True
        else:
            content.bad.add(key)
        return
    found = Found(_stored(document) if isinstance(resource, Secret) else document, _line_lazily(chunk, path))
    key = Key(resource.kind, resource.metadata.namespace, resource.metadata.name)
    first = content.documents.setdefault(key, found)
    if first is not found:
        message = f"{describe(document)}: is in this file already, at line {first.line}; remove one of them"
        content.problems.append(FileProblem(file, found.line, message))


def _key_of(document: Mapping[str, Any]) -> Key | None:
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping):
        return None
    kind, namespace, name = document.get("kind"), metadata.get("namespace") or "default", metadata.get("name")
    if not isinstance(kind, str) or kind not in KINDS or not isinstance(name, str) or not isinstance(namespace, str):
        return None
    return Key(kind, namespace, name) if is_label(namespace) and is_subdomain(name) else None


def _stored(document: Document) -> Document:
    """A Secret as the API server stores it: stringData merged into data."""
    secret = Secret.model_validate(document)
    return {**{k: v for k, v in document.items() if k != "stringData"}, "data": secret.all_data()}


# --- YAML --------------------------------------------------------------------------------------------------------


def _split(text: str) -> Iterator[_Chunk]:
    """The documents of a stream. `---` at the start of a line is always a marker (YAML 1.2, 9.1.2: c-forbidden)."""
    start, line = 0, 1
    for match in _SEPARATOR.finditer(text):
        yield _Chunk(text[start : match.start()], line)
        line += text.count("\n", start, match.start())
        # The marker goes, its line stays: what follows on it belongs to the next document.
        start = match.end()
    yield _Chunk(text[start:], line)


try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML without libyaml: ten times slower, else the same
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]


class _Loader(_SafeLoader):
    """YAML as Kubernetes reads it: no times (they stay text), no key twice, no key but text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a field's name is not text", key_node.start_mark)
            if key_node.tag not in {_TEXT, _MERGE}:
                problem = f"the field {key_node.value} is not text; put it in quotes"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key_node.value in seen and key_node.tag != _MERGE:
                problem = f"the field {key_node.value} is there twice; remove one"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key_node.value)
        return dict(super().construct_mapping(node, deep))


_TEXT, _MERGE, _TIMESTAMP = (f"tag:yaml.org,2002:{name}" for name in ("str", "merge", "timestamp"))
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rows if tag != _TIMESTAMP]
    for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_yaml(text: str) -> Any:
    """One YAML document, as Kubernetes reads it. Raises yaml.YAMLError, BrokenYAML."""
    return load_plain(text, _Loader)


def _explain(error: Exception) -> tuple[int, str]:
    """Lines below the text's first, and what is wrong. The parser's own excerpt is left out: it may hold a secret."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return error.problem_mark.line, f"is not YAML: {error.problem or error.context}"
    if isinstance(error, json.JSONDecodeError):
        return error.lineno - 1, f"is not JSON: {error.msg}"
    if isinstance(error, TooDeep):
        return 0, "is nested too deep"
    if isinstance(error, TooMuch):
        return 0, "holds too many values, or a number that is too long; split it"
    if isinstance(error, BrokenYAML):
        return error.line - 1, str(error)
    return 0, "holds a character that YAML does not allow" if isinstance(error, yaml.YAMLError) else "cannot be read"


def _line_lazily(chunk: _Chunk, path: Sequence[str | int]) -> int:
    """The line of a good document: that of its first content, without a second parse."""
    if path:
        return chunk.first_line
    for offset, line in enumerate(chunk.text.splitlines()):
        if line.strip() and not line.lstrip().startswith("#"):
            return chunk.first_line + offset
    return chunk.first_line


def _line(chunk: _Chunk, path: Sequence[str | int]) -> int:
    """The line of the field at `path`, or of the deepest part of the path that is there."""
    try:
        node = _compose(chunk.text)
    except yaml.YAMLError:  # JSON that YAML cannot read (tabs)
        return chunk.first_line
    line = node.start_mark.line if node is not None else 0
    for part in path:
        child, mark = _child(node, part)
        if child is None:
            break
        node, line = child, mark
    return int(chunk.first_line + line)


@lru_cache(maxsize=1)
def _compose(text: str) -> yaml.Node | None:
    """Once for all mistakes of a text. Raises yaml.YAMLError."""
    return yaml.compose(text, Loader=_Loader)


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node | None, int]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return value, key.start_mark.line
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line
    return None, 0
