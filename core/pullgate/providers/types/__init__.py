"""The guides, a file for each family. Adding a type: its file, its row here, its row of REGISTRY_TYPES."""

from __future__ import annotations

from collections.abc import Mapping

from pullgate.providers.guide import Guide
from pullgate.providers.types import aws, azure, dockerhub, ghcr, google, quay, selfhosted

GUIDES: Mapping[str, Guide] = {
    guide.type: guide
    for guide in (
        dockerhub.GUIDE,
        *aws.GUIDES,
        *google.GUIDES,
        ghcr.GUIDE,
        quay.GUIDE,
        azure.GUIDE,
        *selfhosted.GUIDES,
    )
}
