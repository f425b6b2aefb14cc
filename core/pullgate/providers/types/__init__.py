"""The registry types, a file for each family. Adding a type: its file, its row here, its row of REGISTRY_TYPES."""

from __future__ import annotations

from collections.abc import Mapping

from pullgate.providers.guide import Guide
from pullgate.providers.provider import Provider
from pullgate.providers.types import aws, azure, dockerhub, ghcr, google, quay, selfhosted

PROVIDERS: Mapping[str, Provider] = {
    provider.type: provider
    for family in (dockerhub, aws, google, ghcr, quay, azure, selfhosted)
    for provider in family.PROVIDERS
}
GUIDES: Mapping[str, Guide] = {name: provider.guide for name, provider in PROVIDERS.items()}
