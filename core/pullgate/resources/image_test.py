"""ImageTest: can it be pulled, by whom, and if not, why."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pullgate.resources.fields import Duration, Subdomain, wrong
from pullgate.resources.model import ObjectMeta, Part, ResourceStatus, SecretRef, Unique

ImageText = Annotated[str, Field(min_length=1, max_length=512)]
Platform = Annotated[str, Field(pattern=r"^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?$")]


class ConfigMapKeyRef(Part):
    """One key of a ConfigMap of the same namespace."""

    name: Subdomain
    key: Annotated[str, Field(min_length=1)]


class ImagesFrom(Part):
    """Every image of rendered manifests."""

    config_map_key_ref: ConfigMapKeyRef


class AsSpec(Part):
    """As whom: through the proxy's public address, as that customer."""

    license_ref: SecretRef


class ImageTestSpec(Part):
    """What the vendor wrote."""

    images: Annotated[tuple[ImageText, ...], Unique] = ()
    images_from: ImagesFrom | None = None
    as_: Annotated[AsSpec | None, Field(alias="as")] = None
    depth: Literal["Manifest", "Blobs", "Download"] = "Blobs"
    platforms: Annotated[tuple[Platform, ...], Unique] = ()
    schedule: Annotated[str, Field(min_length=1)] | None = None
    timeout: Duration = timedelta(minutes=2)
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    suspend: bool = False

    @model_validator(mode="after")
    def _some_image(self) -> ImageTestSpec:
        if not self.images and self.images_from is None:
            raise wrong("names no image", "give images: [...] or imagesFrom")
        return self


class ImageTest(Part):
    """The resource."""

    api_version: Literal["pullgate.dev/v1alpha1"]
    kind: Literal["ImageTest"]
    metadata: ObjectMeta
    spec: ImageTestSpec
    status: ResourceStatus = ResourceStatus()
