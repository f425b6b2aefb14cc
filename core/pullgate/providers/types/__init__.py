"""The registry types, a file for each family. Adding a type: its file, its row here, its row of REGISTRY_TYPES."""

from __future__ import annotations

from collections.abc import Mapping

from pullgate.providers.guide import Guide
from pullgate.providers.provider import Provider
from pullgate.providers.types import (
    artifactory,
    aws,
    azure,
    digitalocean,
    dockerhub,
    generic,
    ghcr,
    gitlab,
    google,
    harbor,
    nexus,
    quay,
)

_FAMILIES = (
    dockerhub,
    aws,
    google,
    ghcr,
    quay,
    azure,
    harbor,
    gitlab,
    artifactory,
    nexus,
    digitalocean,
    generic,
)
"""In the order of the pages."""

PROVIDERS: Mapping[str, Provider] = {provider.type: provider for family in _FAMILIES for provider in family.PROVIDERS}
GUIDES: Mapping[str, Guide] = {name: provider.guide for name, provider in PROVIDERS.items()}
