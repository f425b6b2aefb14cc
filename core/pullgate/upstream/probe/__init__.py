"""Is an image pullable, down to which byte, and if not, why: a reason of the faults table for each image and platform.

One `Run` bounds and remembers what is asked: manifests and blobs that images share are asked once.
"""

from pullgate.upstream.probe.check import check_image
from pullgate.upstream.probe.probe import probe, probe_all
from pullgate.upstream.probe.result import (
    Depth,
    ImageResult,
    PlatformResult,
    ProbeOptions,
    ProbeTarget,
    failed_result,
    license_target,
    vendor_target,
)

__all__ = [
    "Depth",
    "ImageResult",
    "PlatformResult",
    "ProbeOptions",
    "ProbeTarget",
    "check_image",
    "failed_result",
    "license_target",
    "probe",
    "probe_all",
    "vendor_target",
]
