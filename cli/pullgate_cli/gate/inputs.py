"""The images that a command is given: references, rendered manifests, charts."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pullgate.oci.rendered import SIZE_LIMIT, ImagePath, InvalidInput, RenderedImage, parse_image_path, read_images
from pullgate_cli.gate.report import Place
from pullgate_cli.place.port import PlaceError

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
FILE_LIMIT = 10_000
HELM_SECONDS = 120.0
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Images:
    """The images that were found, in the order in which they were named, and where each is named."""

    names: tuple[str, ...]
    places: dict[str, tuple[Place, ...]]


async def read_all(
    references: Sequence[str], files: Sequence[str], charts: Sequence[str], paths: Sequence[str], values: Sequence[str]
) -> Images:
    """All images. Raises PlaceError for input that cannot be read, naming file, line and image."""
    found = dict.fromkeys(references, tuple[Place, ...]())
    try:
        image_paths = [parse_image_path(path) for path in paths]
    except ValueError as error:
        raise PlaceError(f"--image-path: {error}") from error
    for name, text in [*_read_files(files), *[(chart, await _render(chart, values)) for chart in charts]]:
        for rendered in await asyncio.to_thread(_parse, name, text, image_paths):
            places = tuple(Place(name, source.line) for source in rendered.sources)
            found[rendered.image] = found.get(rendered.image, ()) + places
    return Images(tuple(found), found)


def _parse(name: str, text: str, paths: Iterable[ImagePath]) -> tuple[RenderedImage, ...]:
    try:
        return read_images(text, paths)
    except InvalidInput as error:
        words = "; ".join(f"{name}:{problem.line}: {problem.message}" for problem in error.problems)
        raise PlaceError(words) from error


def _read_files(files: Sequence[str]) -> list[tuple[str, str]]:
    texts = []
    for name in files:
        if name == STDIN:
            texts.append(("standard input", sys.stdin.read(SIZE_LIMIT + 1)))
            continue
        path = Path(name)
        try:
            for each in _below(path) if path.is_dir() else [path]:
                with each.open(encoding="utf-8") as file:
                    texts.append((str(each), file.read(SIZE_LIMIT + 1)))
        except OSError as error:
            raise PlaceError(f"{name} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise PlaceError(f"{name} is no text") from error
    return texts


def _below(folder: Path) -> list[Path]:
    found = sorted(p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.is_file())
    if not found:
        raise PlaceError(f"{folder} holds no YAML or JSON")
    if len(found) > FILE_LIMIT:
        raise PlaceError(f"{folder} holds more than {FILE_LIMIT} files; name a smaller one")
    return found


async def _render(chart: str, values: Sequence[str]) -> str:
    """The output of `helm template` for a chart: a folder, an archive, or oci://…"""
    options = [word for file in values for word in ("--values", file)]
    try:
        process = await asyncio.create_subprocess_exec(
            "helm",
            "template",
            "release",
            chart,
            *options,
            "--include-crds",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise PlaceError(f"helm is needed to render {chart}, and cannot be run: {error.strerror}") from error
    try:
        async with asyncio.timeout(HELM_SECONDS):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise PlaceError(f"helm did not render {chart} in {HELM_SECONDS:g} s") from None
    if process.returncode != 0:
        raise PlaceError(f"helm cannot render {chart}: {errors.decode(errors='replace').strip()[-500:]}")
    return output.decode("utf-8", "replace")
