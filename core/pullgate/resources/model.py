"""The common parts of all resources: strict models in camelCase, and their metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from pullgate.resources.conditions import Condition
from pullgate.resources.fields import Label, Subdomain, Time

API_VERSION = "pullgate.dev/v1alpha1"


class Part(BaseModel):
    """A part of a spec: an unknown field is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=False)


class Reported(BaseModel):
    """A part of a status: written by Pullgate, perhaps by a newer one, so unknown fields are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True)


class ObjectMeta(Reported):
    """The metadata that Pullgate reads."""

    name: Subdomain
    namespace: Label = "default"
    uid: str = ""
    generation: int = 1
    creation_timestamp: Time | None = None
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)


class LabelMeta(ObjectMeta):
    """Metadata of a resource whose name is a path segment, so without a dot."""

    name: Label


class ResourceStatus(Reported):
    """The fields that every status has."""

    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class SecretRef(Part):
    """A Secret of the same namespace."""

    name: Subdomain


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


Unique = AfterValidator(_unique)
"""The values without repetitions, in their order."""

Positive = Annotated[int, Field(ge=1)]
