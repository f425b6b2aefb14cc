"""Every image of rendered manifests, with where it stands; or of a plain list, one reference a line.

Known are the pod templates of all built-in kinds; fields of custom resources by paths that the caller gives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pullgate.faults import plain_text
from pullgate.oci.reference import InvalidReference, Reference, parse_reference
from pullgate.oci.yaml_nodes import BrokenYAML, Node, read_nodes

SIZE_LIMIT = 8 * 1024 * 1024
"""Bytes of the input."""
IMAGE_LIMIT = 1000
PROBLEM_LIMIT = 20
"""Mistakes that are reported; after them nothing more is read."""
STEP_LIMIT = 2_000_000
"""Fields that are looked at: aliases make a small text as large as they like."""
_LIST_DEPTH = 3

_POD_SPECS = {
    "Pod": "spec",
    "PodTemplate": "template.spec",
    "CronJob": "spec.jobTemplate.spec.template.spec",
} | dict.fromkeys(
    ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"), "spec.template.spec"
)
_IN_POD_SPEC = (
    "initContainers[].image",
    "containers[].image",
    "ephemeralContainers[].image",
    "volumes[].image.reference",
)
# Within a line: over many lines the search would grow with the square of the text.
_MANIFEST = re.compile(r"""^[ \t{\[,-]*["']?(?:apiVersion|kind)["']?\s*:""", re.MULTILINE)
_PATH = re.compile(r"(?:([A-Z][A-Za-z0-9]{0,62}):)?([A-Za-z0-9_-]+(?:\[\])*(?:\.[A-Za-z0-9_-]+(?:\[\])*)*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class ImagePath:
    """The path of image fields in resources of a kind."""

    kind: str | None
    """None: every kind."""
    steps: tuple[str, ...]
    """Fields to go down by; `[]` is each element of a list."""


@dataclass(frozen=True, slots=True)
class ImageSource:
    """One place where an image is named."""

    document: str
    """Kind and name, like Deployment/api; empty in a plain list."""
    field: str
    """Like spec.template.spec.containers[0].image; empty in a plain list."""
    line: int
    """From 1."""

    def __str__(self) -> str:
        return " ".join(filter(None, (f"line {self.line}", self.document, self.field)))


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """An image, and everywhere it is named."""

    image: str
    """As it was written first."""
    reference: Reference
    sources: tuple[ImageSource, ...]


@dataclass(frozen=True, slots=True)
class InputProblem:
    """One mistake."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


class InvalidInput(ValueError):
    """Input whose images cannot all be read."""

    def __init__(self, problems: Sequence[InputProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


def parse_image_path(text: str) -> ImagePath:
    """`spec.components[].image`, or for one kind `Database:spec.image`. Raises ValueError."""
    match = _PATH.fullmatch(text)
    if match is None or len(text) > 256:
        raise ValueError(f"{plain_text(text, 60)} is no path of a field like spec.components[].image")
    return ImagePath(match[1], tuple(match[2].replace("[]", ".[]").split(".")))


def read_images(text: str, paths: Iterable[ImagePath] = ()) -> tuple[RenderedImage, ...]:
    """The images in `text`, in the order in which they come. Raises InvalidInput.

    Text without `apiVersion:` or `kind:` is a list: one reference a line, # begins a comment. Takes some seconds
    for the largest input: call it in a thread where others wait.
    """
    data = text.encode("utf-8", "replace")
    if len(data) > SIZE_LIMIT:
        raise InvalidInput([InputProblem(1, f"the input is larger than {SIZE_LIMIT >> 20} MiB")])
    reader = _Reader(tuple(paths))
    if _MANIFEST.search(text):
        reader.read_manifests(data)
    else:
        reader.read_lines(text)
    if reader.problems:
        raise InvalidInput(reader.problems)
    return tuple(RenderedImage(*found, tuple(sources)) for found, sources in reader.images())


class _Full(Exception):
    """Nothing more is to be read."""


class _Reader:
    """Collects the images and problems of rendered manifests or of a list of images."""

    def __init__(self, paths: tuple[ImagePath, ...]) -> None:
        self._paths = paths
        self._found: dict[Reference, tuple[str, list[ImageSource]]] = {}
        self._steps = 0
        self.problems: list[InputProblem] = []

    def images(self) -> Iterator[tuple[tuple[str, Reference], list[ImageSource]]]:
        """Each with its sources."""
        for reference, (text, sources) in self._found.items():
            yield (text, reference), sources

    def read_lines(self, text: str) -> None:
        """One reference a line."""
        try:
            for number, line in enumerate(text.splitlines(), 1):
                written = line.partition("#")[0].strip()
                if written and written != "---":
                    self._add(written, ImageSource("", "", number))
        except _Full:
            return

    def read_manifests(self, data: bytes) -> None:
        """YAML of one or more documents; JSON is YAML."""
        try:
            for root in read_nodes(data):
                self._read_resource(root, "", 0)
        except BrokenYAML as error:
            self.problems.append(InputProblem(error.line, f"broken YAML: {error}"))
        except _Full:
            return

    def _read_resource(self, root: Node, kind: str, depth: int) -> None:
        kind = root.string("kind") or kind
        if not kind:
            self._complain(root.line, "this document is no manifest: it has no kind")
            return
        items = root.get("items")
        if kind.endswith("List") and items is not None:
            if depth == _LIST_DEPTH:
                self._complain(root.line, "its lists hold lists without end")
                return
            for item in items.elements():
                self._step(item)
                self._read_resource(item, kind.removesuffix("List"), depth + 1)
            return
        metadata = root.get("metadata")
        name = (metadata.string("name") or metadata.string("generateName")) if metadata is not None else ""
        document = f"{kind}/{plain_text(name, 253)}" if name else kind
        for path in self._paths_of(kind):
            self._read_path(root, path.steps, "", document)

    def _paths_of(self, kind: str) -> list[ImagePath]:
        return _BUILT_IN.get(kind, []) + [path for path in self._paths if path.kind in {None, kind}]

    def _read_path(self, node: Node, steps: tuple[str, ...], field: str, document: str) -> None:
        self._step(node)
        if not steps:
            self._read_image(node, ImageSource(document, field, node.line))
        elif steps[0] == "[]":
            for number, element in enumerate(node.elements()):
                self._read_path(element, steps[1:], f"{field}[{number}]", document)
        elif (inside := node.get(steps[0])) is not None:
            self._read_path(inside, steps[1:], f"{field}.{steps[0]}" if field else steps[0], document)

    def _read_image(self, node: Node, source: ImageSource) -> None:
        if node.items is not None or not (node.is_text and node.text):
            what = "is empty" if not node.text and node.items is None else "is no text; quote it, or render the chart"
            self._complain(node.line, f"{source.document} {source.field} {what}")
            return
        self._add(node.text, source)

    def _add(self, written: str, source: ImageSource) -> None:
        try:
            reference = parse_reference(written)
        except InvalidReference as error:
            where = f"{source.document} {source.field}: " if source.document else ""
            self._complain(source.line, f"{where}{plain_text(written, 100)}: {error}")
            return
        if reference not in self._found and len(self._found) == IMAGE_LIMIT:
            self._complain(source.line, f"there are more than {IMAGE_LIMIT} images; test them in parts")
            raise _Full
        sources = self._found.setdefault(reference, (written, []))[1]
        if source not in sources[-1:]:
            sources.append(source)

    def _step(self, node: Node) -> None:
        self._steps += 1
        if self._steps > STEP_LIMIT:
            self._complain(node.line, "its lists and aliases unfold to too much")
            raise _Full

    def _complain(self, line: int, message: str) -> None:
        self.problems.append(InputProblem(line, message))
        if len(self.problems) == PROBLEM_LIMIT:
            raise _Full


_BUILT_IN = {
    kind: [parse_image_path(f"{kind}:{spec}.{inside}") for inside in _IN_POD_SPEC] for kind, spec in _POD_SPECS.items()
}
