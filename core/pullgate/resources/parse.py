"""A document -> a resource, or what is wrong with it: each field by its path, what is, and how to write it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pullgate.clean_text import clean
from pullgate.resources.config_map import ConfigMap
from pullgate.resources.fields import show
from pullgate.resources.image_test import ImageTest
from pullgate.resources.license import License
from pullgate.resources.model import API_VERSION
from pullgate.resources.registry import Registry
from pullgate.resources.secret import Secret

Resource = Registry | License | ImageTest | Secret | ConfigMap

MODELS: Final[Mapping[str, type[Resource]]] = {
    "Registry": Registry,
    "License": License,
    "ImageTest": ImageTest,
    "Secret": Secret,
    "ConfigMap": ConfigMap,
}

ERROR_LIMIT: Final = 50
"""Mistakes of a document that are explained."""

_NOUNS = {
    "string_type": ("a text", "put it in quotes"),
    "bool_type": ("true or false", "write true or false, without quotes"),
    "bool_parsing": ("true or false", "write true or false, without quotes"),
    "int_type": ("a whole number", "write a whole number"),
    "int_parsing": ("a whole number", "write a whole number, without quotes"),
    "int_from_float": ("a whole number", "write a whole number"),
    "tuple_type": ("a list", "write it as a list: [...]"),
    "list_type": ("a list", "write it as a list: [...]"),
    "dict_type": ("a mapping", "write it as fields: {...}"),
    "mapping_type": ("a mapping", "write it as fields: {...}"),
    "model_type": ("a mapping", "write it as fields: {...}"),
    "model_attributes_type": ("a mapping", "write it as fields: {...}"),
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One mistake. In its words no value of a Secret."""

    path: tuple[str | int, ...]
    message: str
    fix: str = ""

    @property
    def field(self) -> str:
        """The path as people write it: spec.entitlements[0].repositories."""
        text = ""
        for part in self.path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        return clean(text)

    def __str__(self) -> str:
        words = f"{self.field}: {self.message}" if self.path else self.message
        return f"{words}; {self.fix}" if self.fix else words


class InvalidResource(ValueError):
    """A document that is no valid resource."""

    def __init__(self, subject: str, errors: Sequence[FieldError]) -> None:
        self.subject = subject
        """Kind and name, as far as they can be read."""
        self.errors = tuple(errors)
        super().__init__(f"{subject}: " + " | ".join(str(error) for error in errors))


def parse_resource(document: Mapping[str, Any]) -> Resource:
    """The resource that `document` (what a YAML or JSON parser makes of it) holds. Raises InvalidResource."""
    model = _find_model(document)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        shown = model is not Secret
        found = error.errors(include_url=False)
        errors = _without_echo([_explain(detail, model, shown) for detail in found[:ERROR_LIMIT]])
        if len(found) > ERROR_LIMIT:
            errors.append(FieldError((), f"{len(found) - ERROR_LIMIT} more mistakes are not shown", "mend these first"))
        raise InvalidResource(describe(document), errors) from None


def describe(document: Mapping[str, Any]) -> str:
    """Kind and name of `document` for people."""
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    kind = document.get("kind")
    return clean(" ".join(part for part in (kind, name) if isinstance(part, str)) or "document")


def _find_model(document: Mapping[str, Any]) -> type[Resource]:
    kind = document.get("kind")
    if kind is None:
        raise InvalidResource(describe(document), [FieldError(("kind",), "is missing", "write kind: License")])
    model = MODELS.get(kind) if isinstance(kind, str) else None
    if model is None:
        near = difflib.get_close_matches(str(kind), MODELS, 1)
        fix = f"did you mean {near[0]}?" if near else f"one of {', '.join(MODELS)}"
        raise InvalidResource(describe(document), [FieldError(("kind",), f"{show(kind)} is not known", fix)])
    version = "v1" if model in {Secret, ConfigMap} else API_VERSION
    if document.get("apiVersion") != version:
        given = document.get("apiVersion")
        what = "is missing" if given is None else f"{show(given)} is not known for {kind}"
        raise InvalidResource(describe(document), [FieldError(("apiVersion",), what, f"write apiVersion: {version}")])
    return model


def _explain(detail: ErrorDetails, model: type[BaseModel], shown: bool) -> FieldError:
    path = tuple(detail["loc"])
    type_, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    written = show(value) if shown and not isinstance(value, Mapping | list | tuple) else "this"
    if type_ == "pullgate":
        return FieldError(path, str(context["what"]), str(context["fix"]))
    if type_ == "missing":
        return FieldError(path, "is missing", f"add {path[-1]}")
    if type_ == "extra_forbidden":
        return FieldError(path, "is not a field", _suggest(path, model))
    if type_ == "literal_error":
        return FieldError(path, f"{written} is not one of them", f"one of {context['expected']}".replace("'", ""))
    if type_ in _NOUNS:
        noun, fix = _NOUNS[type_]
        return FieldError(path, f"{written} is not {noun}", fix)
    if type_ == "too_short":
        return FieldError(path, "is empty", "name at least one, or leave the field out")
    if type_ == "too_long":
        return FieldError(path, f"has more than {context['max_length']} entries", "leave some out, or split it")
    if type_ in {"string_too_short", "string_too_long", "string_pattern_mismatch"}:
        return FieldError(path, f"{written} does not fit", detail["msg"])
    if type_.startswith(("greater_than", "less_than")):
        return FieldError(path, f"{written} is out of range", detail["msg"].replace("Input should be", "must be"))
    return FieldError(path, "does not fit", detail["msg"])


def _suggest(path: tuple[str | int, ...], model: type[BaseModel]) -> str:
    """The field that was meant, or those that there are."""
    names = _field_names(model, path[:-1])
    near = difflib.get_close_matches(str(path[-1]), names, 1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(names)}" if names else "remove it"


def _field_names(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    current: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int):
            continue
        if current is None:
            return []
        field = next((f for n, f in current.model_fields.items() if part in {f.alias, n}), None)
        current = _model_in(field.annotation) if field is not None else None
    return [field.alias or name for name, field in current.model_fields.items()] if current is not None else []


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The model that an annotation such as `tuple[EntitlementSpec, ...]` or `TagsSpec | None` is about."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _model_in(part)
        if found is not None:
            return found
    return None


def _without_echo(errors: Sequence[FieldError]) -> list[FieldError]:
    """Each path once: a union repeats what is wrong for every member."""
    return list({error.path: error for error in reversed(errors)}.values())[::-1]
