"""deploy/crds says the same as the Python model: fields, what is required, values, defaults; all of it is explained."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pullgate.resources import InvalidResource, parse_resource
from pullgate.resources.fields import parse_duration
from pullgate.resources.image_test import ImageTestSpec, ImageTestStatus
from pullgate.resources.license import LicenseSpec, LicenseStatus
from pullgate.resources.registry import RegistrySpec, RegistryStatus
from tests.support.documents import BROKEN, TAKEN, Broken, Document

CRDS = {
    document["spec"]["names"]["kind"]: document
    for path in (Path(__file__).parents[2] / "deploy" / "crds").glob("*.pullgate.dev.yaml")
    for document in yaml.safe_load_all(path.read_text())
}
MODELS: dict[tuple[str, str], type[BaseModel]] = {
    ("Registry", "spec"): RegistrySpec,
    ("Registry", "status"): RegistryStatus,
    ("License", "spec"): LicenseSpec,
    ("License", "status"): LicenseStatus,
    ("ImageTest", "spec"): ImageTestSpec,
    ("ImageTest", "status"): ImageTestStatus,
}
Schema = dict[str, Any]


def schema_of(kind: str, part: str) -> Schema:
    found: Schema = CRDS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
    return found


def inner(annotation: Any) -> Iterator[Any]:
    """An annotation, and those inside it."""
    yield annotation
    for part in typing.get_args(annotation):
        yield from inner(part)


def model_of(field: FieldInfo) -> type[BaseModel] | None:
    for part in inner(field.annotation):
        if isinstance(part, type) and typing.get_origin(part) is None and issubclass(part, BaseModel):
            return part
    return None


def walk(model: type[BaseModel], schema: Schema, path: str) -> Iterator[tuple[str, type[BaseModel], Schema]]:
    """Each model with its schema."""
    yield path, model, schema
    for name, field in model.model_fields.items():
        alias = field.alias or name
        part = schema["properties"].get(alias)
        inside = model_of(field)
        if part is not None and inside is not None:
            yield from walk(inside, part.get("items", part), f"{path}.{alias}")


PAIRS = [
    pair for (kind, part), model in MODELS.items() for pair in walk(model, schema_of(kind, part), f"{kind}.{part}")
]


@pytest.mark.parametrize(("path", "model", "schema"), PAIRS, ids=[pair[0] for pair in PAIRS])
def test_fields_and_what_is_required_are_those_of_the_model(path: str, model: type[BaseModel], schema: Schema) -> None:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    properties = schema.get("properties", {})
    if path.split(".")[1] == "status":
        assert fields.keys() <= properties.keys()
        return
    assert fields.keys() == properties.keys()
    assert {name for name, field in fields.items() if field.is_required()} == set(schema.get("required", ()))


@pytest.mark.parametrize(("path", "model", "schema"), PAIRS, ids=[pair[0] for pair in PAIRS])
def test_defaults_and_values_are_those_of_the_model(path: str, model: type[BaseModel], schema: Schema) -> None:
    if path.split(".")[1] == "status":
        return
    for name, field in model.model_fields.items():
        part = schema["properties"][field.alias or name]
        literals = [each for each in inner(field.annotation) if typing.get_origin(each) is Literal]
        assert part.get("enum") == (list(typing.get_args(literals[0])) if literals else None), name
        assert as_written(part.get("default"), field.default) == default_of(field), name


def default_of(field: FieldInfo) -> Any:
    default = None if field.is_required() else field.default
    if isinstance(default, BaseModel):
        return {}
    return list(default) if isinstance(default, tuple) and default else default or None


def as_written(default: Any, like: Any) -> Any:
    if isinstance(like, timedelta):
        return parse_duration(default) or None
    return default if isinstance(default, dict) else default or None


def parts(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from parts(part, f"{path}.{name}")
    if "items" in schema:
        yield from parts(schema["items"], f"{path}[]")


@pytest.mark.parametrize("kind", CRDS)
def test_every_field_of_a_spec_is_explained_and_bounded(kind: str) -> None:
    for path, part in parts(schema_of(kind, "spec"), f"{kind}.spec"):
        leaf = path.rpartition(".")[2]
        assert "description" in part or path.endswith("[]") or leaf in {"name", "key"}, path
        if part.get("type") == "string" and "enum" not in part and "format" not in part:
            assert "maxLength" in part, path
            assert {"pattern", "x-kubernetes-validations"} & part.keys(), f"{path} may hold an escape"
        if part.get("type") == "array":
            assert "maxItems" in part, path


@pytest.mark.parametrize("broken", BROKEN, ids=[broken.rule for broken in BROKEN])
def test_the_model_refuses_what_the_api_server_refuses(broken: Broken) -> None:
    with pytest.raises(InvalidResource):
        parse_resource(broken.document)


@pytest.mark.parametrize("document", TAKEN, ids=[f"{n}-{document['kind']}" for n, document in enumerate(TAKEN)])
def test_the_model_takes_what_the_api_server_takes(document: Document) -> None:
    parse_resource(document)
