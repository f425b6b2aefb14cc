"""The registries that tests pull from: real ones, and ones that fail as told. Each is an async context manager."""

from tests.support.upstreams.docker_registry import DockerRegistry
from tests.support.upstreams.token_server import TokenServer

__all__ = ["DockerRegistry", "TokenServer"]
