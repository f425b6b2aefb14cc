"""The images that the shared upstreams hold."""

from __future__ import annotations

import functools
from typing import Protocol

from tests.support.images import DOCKER_SCHEMA2, Image, artifact, helm_chart, image, index

API = "my-org/api"
WORKER = "my-org/worker-a"
SECRET = "my-org/secret"
CHART = "charts/demo"
STABLE = "1.4.2"
"""The version that the tag `stable` of my-org/api names too."""


class Upstream(Protocol):
    """An upstream that can be seeded: a DockerRegistry or a ScriptedRegistry."""

    async def push(self, repository: str, tag: str | None, image: Image) -> str:
        """Push `image`."""


@functools.cache
def catalog() -> dict[tuple[str, str], Image]:
    """(repository, tag) -> image.

    my-org/api: 1.0.0, 1.4.0, 1.4.2 and 2.0.0, indexes for amd64 and arm64; stable is 1.4.2.
    my-org/worker-a: 1.0.0 (OCI) and docker (Docker's schema 2). my-org/secret: 1.0.0. charts/demo: chart 0.1.0.
    """
    versions = {version: _multi_platform(f"api {version}") for version in ("1.0.0", "1.4.0", STABLE, "2.0.0")}
    held = {(API, version): built for version, built in versions.items()}
    held[API, "stable"] = versions[STABLE]
    held[WORKER, "1.0.0"] = image("worker-a", layers=3)
    held[WORKER, "docker"] = image("worker-a docker", flavour=DOCKER_SCHEMA2)
    held[SECRET, "1.0.0"] = image("secret")
    held[CHART, "0.1.0"] = helm_chart("demo", "0.1.0")
    return held


@functools.cache
def referrers() -> tuple[Image, ...]:
    """The referrers of my-org/api:1.4.2 (its index): an SBOM and a signature, untagged."""
    subject = catalog()[API, STABLE]
    return artifact(subject), artifact(subject, "application/vnd.example.signature", b"a signature")


async def seed(upstream: Upstream) -> None:
    """Push the whole catalog, and the referrers by their digests."""
    for (repository, tag), held in catalog().items():
        await upstream.push(repository, tag, held)
    for referrer in referrers():
        await upstream.push(API, None, referrer)


def _multi_platform(name: str) -> Image:
    return index([image(f"{name} {architecture}", architecture=architecture) for architecture in ("amd64", "arm64")])
