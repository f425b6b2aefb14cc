"""Targets, options and results of a probe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from pullgate import faults
from pullgate.oci.reference import Reference
from pullgate.upstream.config import UpstreamConfig

Depth = Literal["Manifest", "Blobs", "Download"]
Hint = Callable[[faults.Fault], str]


def own_hint(fault: faults.Fault) -> str:
    """The next step that the fault itself names."""
    return fault.hint


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """One image, and whom to ask for it."""

    image: str
    """As it was written."""
    config: UpstreamConfig
    repository: str
    """As `config`'s host knows it."""
    reference: str
    """Tag or digest."""
    hint: Hint = field(default=own_hint, repr=False, compare=False)
    """The next step for the reader of the result, by the type of registry."""


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """How a run is made."""

    depth: Depth = "Blobs"
    """Manifest; Blobs: HEAD of config and layers, too; Download: every byte is read and verified."""
    platforms: tuple[str, ...] = ()
    """os/architecture[/variant]; none: all that an index names, but for attestations."""
    timeout: float = 120.0
    """Seconds of the whole run."""
    retries: int = 2
    """New tries of one request, where the fault may pass."""
    concurrency: int = 128
    """Requests under way at once, and images that are looked at."""
    per_host: int = 64
    """Requests under way at once at one host."""


@dataclass(frozen=True, slots=True)
class PlatformResult:
    """One manifest of an image."""

    platform: str
    """Empty if it is not known: an image without an index whose config was not asked, or no image at all."""
    passed: bool
    digest: str = ""
    size: int = 0
    """Bytes of config and layers."""
    reason: str = ""
    """A reason of the faults table; empty if it passed, as the next two."""
    message: str = ""
    """With the upstream's own sentence: for the vendor. A proxy does not pass it on to a customer."""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ImageResult:
    """One image. It passed if every platform did; else reason, message and hint are those of the first that did not."""

    image: str
    passed: bool
    digest: str = ""
    """Digest that the tag resolves to: the index's, or the manifest's."""
    platforms: tuple[PlatformResult, ...] = ()
    size: int = 0
    """Bytes of config and layers of all platforms; a blob counts once for each platform that names it."""
    duration: float = 0.0
    """Seconds."""
    reason: str = ""
    message: str = ""
    hint: str = ""
    notice: str = ""
    """One sentence that the proxy says to a test as a customer, whatever becomes of the image."""


def failed_result(target: ProbeTarget, fault: faults.Fault, duration: float = 0.0, digest: str = "") -> ImageResult:
    """An image that ended with `fault`."""
    return ImageResult(
        target.image,
        passed=False,
        digest=digest,
        duration=duration,
        reason=fault.reason,
        message=fault.for_vendor,
        hint=target.hint(fault),
    )


def failed_platform(platform: str, fault: faults.Fault, hint: Hint, digest: str = "", size: int = 0) -> PlatformResult:
    """A platform that ended with `fault`."""
    return PlatformResult(platform, False, digest, size, fault.reason, fault.for_vendor, hint(fault))


def vendor_target(image: str, reference: Reference, config: UpstreamConfig, hint: Hint = own_hint) -> ProbeTarget:
    """`image` as the vendor: straight from the upstream of `config`."""
    return ProbeTarget(image, config, reference.repository, reference.target, hint)


def license_target(
    image: str,
    reference: Reference,
    proxy: UpstreamConfig,
    app: str,
    *,
    registry: str | None = None,
    hint: Hint = own_hint,
) -> ProbeTarget:
    """`image` as a customer: through `proxy` (see `proxy_config`), below the app's path.

    `registry` is the Registry's name, needed where its host has a port, which no path can hold; else the host does.
    An image that names the proxy's own host is asked by the path that it has.
    """
    if reference.host == proxy.host:
        return vendor_target(image, reference, proxy, hint)
    path = f"proxy/{app}/{registry or reference.host}/{reference.repository}"
    return ProbeTarget(image, proxy, path, reference.target, hint)
