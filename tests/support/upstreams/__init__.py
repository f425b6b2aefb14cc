"""The registries that tests pull from: real ones, and ones that fail as told. Each is an async context manager."""

from tests.support.upstreams import faults
from tests.support.upstreams.docker_registry import DockerRegistry
from tests.support.upstreams.s3_like import S3Like
from tests.support.upstreams.scripted import Script
from tests.support.upstreams.scripted_registry import ScriptedRegistry
from tests.support.upstreams.token_server import TokenServer
from tests.support.upstreams.wire import Ending, Reply, Request

__all__ = [
    "DockerRegistry",
    "Ending",
    "Reply",
    "Request",
    "S3Like",
    "Script",
    "ScriptedRegistry",
    "TokenServer",
    "faults",
]
