"""Secret: the part of Kubernetes' own that Pullgate reads. No message and no repr holds any of its content."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator

from pullgate.resources.fields import wrong
from pullgate.resources.model import ObjectMeta, Part


class Secret(Part):
    """The resource."""

    model_config = ConfigDict(hide_input_in_errors=True)

    api_version: Literal["v1"]
    kind: Literal["Secret"]
    metadata: ObjectMeta
    type: str = "Opaque"
    immutable: bool | None = None
    data: Annotated[Mapping[str, str], Field(repr=False)] = Field(default_factory=dict)
    string_data: Annotated[Mapping[str, str], Field(repr=False)] = Field(default_factory=dict)

    @field_validator("data", mode="before")
    @classmethod
    def _base64(cls, value: object) -> object:
        if value is None:
            return {}
        for key, text in value.items() if isinstance(value, dict) else ():
            try:
                base64.b64decode("".join(str(text or "").split()), validate=True)
            except binascii.Error:
                raise wrong(f"{key} is not base64", "encode it, or write it in plain text under stringData") from None
        return value

    def all_data(self) -> dict[str, str]:
        """`data` with `stringData` merged in, base64, as the API server stores it."""
        plain = {key: base64.b64encode(text.encode()).decode() for key, text in self.string_data.items()}
        return {**{key: "".join(text.split()) for key, text in self.data.items()}, **plain}
