"""The registry types: what each one fixes about its host. Pure; `pullgate.providers` has the logins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pullgate.resources.fields import DOCKER_HUB_HOSTS


@dataclass(frozen=True, slots=True)
class RegistryType:
    """A row of the table in the Registry's reference."""

    name: str
    host: str | None = None
    """The host, if the type fixes it; `spec.host` overrides it (a self-hosted Quay)."""
    host_example: str = "registry.example.com"


REGISTRY_TYPES = {
    row.name: row
    for row in (
        RegistryType("DockerHub", "docker.io"),
        RegistryType("ECR", None, "123456789012.dkr.ecr.eu-central-1.amazonaws.com"),
        RegistryType("ECRPublic", "public.ecr.aws"),
        RegistryType("GAR", None, "europe-west1-docker.pkg.dev"),
        RegistryType("GCR", "gcr.io"),
        RegistryType("GHCR", "ghcr.io"),
        RegistryType("Quay", "quay.io"),
        RegistryType("ACR", None, "myregistry.azurecr.io"),
        RegistryType("Harbor", None, "harbor.example.com"),
        RegistryType("GitLab", None, "registry.gitlab.com"),
        RegistryType("Artifactory", None, "mycompany.jfrog.io"),
        RegistryType("Nexus", None, "nexus.example.com:8082"),
        RegistryType("DigitalOcean", "registry.digitalocean.com"),
        RegistryType("Generic", None),
    )
}

if TYPE_CHECKING:
    TypeName = str
else:
    TypeName = Literal[tuple(REGISTRY_TYPES)]
    """What spec.type may be."""


def host_names(host: str) -> tuple[str, ...]:
    """Every host by which a reference may name the upstream at `host` (canonical)."""
    return DOCKER_HUB_HOSTS if host == "docker.io" else (host,)


def wire_host(host: str) -> str:
    """The host on which the upstream at `host` (canonical) listens: Docker Hub's API has a name of its own."""
    return "registry-1.docker.io" if host == "docker.io" else host
