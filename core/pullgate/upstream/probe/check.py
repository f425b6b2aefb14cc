"""Registry.check.image: may the credentials read an image, beyond the login?"""

from __future__ import annotations

import dataclasses

from pullgate import faults
from pullgate.oci.manifest import MANIFEST_TYPES
from pullgate.oci.reference import InvalidReference, Reference, parse_reference
from pullgate.upstream.client import Upstream
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.request import UpstreamRequest


async def check_image(config: UpstreamConfig, image: str) -> faults.Fault | None:
    """Why the manifest of `image` cannot be read; None if it can. Raises nothing of an upstream.

    HEAD where that tells enough: Docker Hub counts a GET of a manifest as a pull.
    """
    try:
        reference = parse_own_reference(config.host, image)
    except InvalidReference as error:
        return faults.fault_in_words("ReferenceInvalid", f"image {image}: {error}")
    request = UpstreamRequest("HEAD", reference.repository, "manifests", reference.target, accept=MANIFEST_TYPES)
    async with Upstream(config) as upstream:
        try:
            await upstream.resolve_manifest(request)
        except faults.Fault as fault:
            return fault
    return None


def parse_own_reference(host: str, image: str) -> Reference:
    """`image` of the registry `host`, written with the host before it or without. Raises InvalidReference."""
    own = image.removeprefix(f"{host}/")
    if "." in host or ":" in host:
        return parse_reference(f"{host}/{own}")
    # Written before a reference, a host without a dot and a port would be the first part of the repository.
    return dataclasses.replace(parse_reference(f"localhost/{own}"), host=host)
