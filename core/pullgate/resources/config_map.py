"""ConfigMap: the part of Kubernetes' own that Pullgate reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator

from pullgate.resources.model import ObjectMeta, Reported


class ConfigMap(Reported):
    """The resource."""

    api_version: Literal["v1"]
    kind: Literal["ConfigMap"]
    metadata: ObjectMeta
    data: Annotated[Mapping[str, str], Field(repr=False)] = Field(default_factory=dict)

    @field_validator("data", mode="before")
    @classmethod
    def _some(cls, value: object) -> object:
        return {} if value is None else value
