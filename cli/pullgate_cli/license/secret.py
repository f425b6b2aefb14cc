"""A License's Secrets, for users who may read them."""

from __future__ import annotations

import json
from typing import Any

import yaml

from pullgate.providers.handoff import secret_data
from pullgate.store.port import Document, Key
from pullgate_cli.place.port import NotThere, Place, PlaceError


async def read_license_file(place: Place, document: Document) -> str:
    """The License's file. Raises PlaceError."""
    return (await _read(place, document, "license", "license.yaml")).decode()


async def read_license_key(place: Place, document: Document) -> str:
    """The License's key. Raises PlaceError."""
    try:
        return str(yaml.safe_load(await read_license_file(place, document))["license"]["key"])
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise PlaceError("the license file in its Secret cannot be read; delete the Secret for a new key") from error


async def read_docker_config(place: Place, document: Document) -> dict[str, Any]:
    """The docker configuration of the pull Secret. Raises PlaceError."""
    config: dict[str, Any] = json.loads(await _read(place, document, "pull", ".dockerconfigjson"))
    return config


async def _read(place: Place, document: Document, which: str, part: str) -> bytes:
    metadata = document["metadata"]
    name = ((document.get("status") or {}).get("secrets") or {}).get(which)
    if not name:
        raise NotThere(
            f"License {metadata['name']} has no key yet; is the operator, or `pullgate standalone`, running?"
        )
    secret = await place.get(Key("Secret", metadata["namespace"], name))
    data = secret_data(secret) if secret is not None else {}
    if part not in data:
        raise NotThere(f"there is no Secret {name} with {part} in {metadata['namespace']}")
    return data[part]
