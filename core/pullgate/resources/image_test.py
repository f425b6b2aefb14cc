"""ImageTest: can it be pulled, by whom, and if not, why."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from pullgate.resources.fields import Duration, OneLine, Subdomain, Time, wrong
from pullgate.resources.model import ObjectMeta, Part, Reported, ResourceStatus, SecretRef, Unique
from pullgate.resources.schedule import check_schedule, check_zone

IMAGE_LIMIT = 1000
"""Images of one test, those of rendered manifests included."""

ImageText = Annotated[str, Field(min_length=1, max_length=512), OneLine]
Platform = Annotated[str, Field(pattern=r"^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?$")]
ImagePath = Annotated[
    str, Field(pattern=r"^([A-Z][A-Za-z0-9]*:)?[A-Za-z0-9_-]+(\[\])*(\.[A-Za-z0-9_-]+(\[\])*)*$", max_length=253)
]


class ConfigMapKeyRef(Part):
    """One key of a ConfigMap of the same namespace."""

    name: Subdomain
    key: Annotated[str, Field(min_length=1), OneLine]


class ImagesFrom(Part):
    """Every image of rendered manifests."""

    config_map_key_ref: ConfigMapKeyRef
    image_paths: Annotated[tuple[ImagePath, ...], Unique, Field(max_length=64)] = ()
    """Fields of custom resources that name images: spec.components[].image, or for one kind Database:spec.image."""


class AsSpec(Part):
    """The customer to test as, through the proxy's public address."""

    license_ref: SecretRef


def _schedule(value: str) -> str:
    if (problem := check_schedule(value)) is not None:
        raise wrong(f"is no schedule: {problem}", "write it as cron does, like '*/30 * * * *', or @hourly")
    return value


def _zone(value: str) -> str:
    if (problem := check_zone(value)) is not None:
        raise wrong(problem, "write it like Europe/Berlin")
    return value


class ImageTestSpec(Part):
    """The spec, as the vendor wrote it."""

    images: Annotated[tuple[ImageText, ...], Unique, Field(max_length=IMAGE_LIMIT)] = ()
    images_from: ImagesFrom | None = None
    as_: Annotated[AsSpec | None, Field(alias="as")] = None
    depth: Literal["Manifest", "Blobs", "Download"] = "Blobs"
    platforms: Annotated[tuple[Platform, ...], Unique, Field(max_length=32)] = ()
    schedule: Annotated[str, Field(min_length=1), OneLine, AfterValidator(_schedule)] | None = None
    time_zone: Annotated[str, OneLine, AfterValidator(_zone)] = "UTC"
    timeout: Duration = timedelta(minutes=2)
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    suspend: bool = False

    @model_validator(mode="after")
    def _some_image(self) -> ImageTestSpec:
        if not self.images and self.images_from is None:
            raise wrong("names no image", "give images: [...] or imagesFrom")
        return self

    @field_validator("timeout")
    @classmethod
    def _some_time(cls, value: timedelta) -> timedelta:
        if not timedelta(seconds=1) <= value <= timedelta(hours=1):
            raise wrong("is not between a second and an hour", "write it like 2m")
        return value


class RunStatus(Reported):
    """One run."""

    started_at: Time
    duration: str = ""
    generation: int = 0
    """The generation of the spec that it ran with."""
    passed: bool = False
    summary: str = ""


class ResultStatus(Reported):
    """One image."""

    image: str
    passed: bool
    reason: str = ""
    message: str = ""
    hint: str = ""
    platforms: tuple[str, ...] = ()
    """The platforms that were found."""
    digest: str = ""
    size: int = 0
    """Bytes of config and layers of all platforms."""
    duration: str = ""


class ImageTestStatus(ResourceStatus):
    """The results of the runs."""

    summary: str = ""
    last_run: RunStatus | None = None
    next_run_at: Time | None = None
    results: tuple[ResultStatus, ...] = ()
    omitted: int = 0
    """Results that passed and are left out, since the status would be too large."""
    history: tuple[RunStatus, ...] = ()
    """The newest first, ten at most."""


class ImageTest(Part):
    """The resource."""

    api_version: Literal["pullgate.dev/v1alpha1"]
    kind: Literal["ImageTest"]
    metadata: ObjectMeta
    spec: ImageTestSpec
    status: ImageTestStatus = ImageTestStatus()
