"""The kinds of keys that each type takes, and the modes of its host, each as a front and a Secret that fit."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from tests.support.fakes.flavours import FLAVOURS
from tests.support.fakes.front import Flavour

OWN_NAME = "127.0.0.2"
"""Stands for one repository's own host name; the platform's is 127.0.0.1."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to pull from a type."""

    type: str
    name: str
    secret: dict[str, str]
    """The keys of an Opaque Secret; for a docker configuration its user and password."""
    login: tuple[str, str]
    """The user and password that the provider receives."""
    flavour: Flavour
    docker_config: bool = False


def _kind(type_: str, name: str, user: str, password: str, flavour: Flavour | None = None, **secret: str) -> Kind:
    found = secret or {"username": user, "password": password}
    return Kind(type_, name, found, (user, password), flavour or FLAVOURS[type_])


_KEY = '{"type": "service_account", "private_key": "CANARY"}'
_CLIENT = "11111111-2222-3333-4444-555555555555"
_JFROG = FLAVOURS["Artifactory"]
_PATH = _JFROG
_SUBDOMAIN = dataclasses.replace(
    _JFROG, prefix="", address=OWN_NAME, token_path="/artifactory/api/docker/docker-local/v2/token"
)
_PLATFORM = dataclasses.replace(_SUBDOMAIN, own_token_server=False)
_NEXUS_PORT = FLAVOURS["Nexus"]
_NEXUS_PATH = dataclasses.replace(_NEXUS_PORT, prefix="docker-hosted/")
_NEXUS_BEARER = dataclasses.replace(_NEXUS_PORT, scheme="bearer", token_path="/v2/token", service="nexus.example")
_TOKENS = {
    "API key": "AKCp" + "CANARY" * 11 + "abc",
    "access token": "eyJCANARY.eyJzdWIiOiJqZnJ0L3VzZXJzL3B1bGxlciJ9.CANARY",
    "reference token": "cmVmd" + "CANARY" * 9 + "abcde",
}
_CODES = ("xY3kQ9aZ", "CANARY" * 7)
"""Name code and pass code of a user token."""

KINDS = (
    _kind("DockerHub", "personal access token", "my-bot", "dckr_pat_CANARY"),
    _kind("DockerHub", "organization token", "my-org", "dckr_oat_CANARY", username="my-org", token="dckr_oat_CANARY"),
    _kind("ECR", "password of get-login-password", "AWS", "eyJCANARY"),
    _kind("ECRPublic", "password of get-login-password", "AWS", "eyJCANARY"),
    *(_kind(t, "service account key", "_json_key", _KEY, serviceAccountKey=_KEY) for t in ("GAR", "GCR")),
    *(_kind(t, "short-lived access token", "oauth2accesstoken", "ya29.CANARY") for t in ("GAR", "GCR")),
    *(
        _kind(t, "service account key in base64", "_json_key_base64", base64.b64encode(_KEY.encode()).decode())
        for t in ("GAR", "GCR")
    ),
    _kind("GHCR", "classic token", "my-bot", "ghp_CANARY"),
    _kind("Quay", "robot account", "my-org+puller", "CANARY"),
    _kind("ACR", "service principal as user and password", _CLIENT, "CANARY", clientID=_CLIENT, clientSecret="CANARY"),
    _kind("ACR", "token of the registry", "pullgate", "CANARY" * 7 + "+ACRAabcde"),
    _kind("ACR", "admin user", "myregistry", "CANARY" * 7 + "+ACRAabcde"),
    _kind("Harbor", "robot of a project", "robot$my-org+puller", "CANARY"),
    _kind("Harbor", "system robot", "robot$puller", "CANARY"),
    _kind("GitLab", "deploy token", "gitlab+deploy-token-1", "gldt-CANARY"),
    _kind("GitLab", "group or project access token", "my-bot", "glpat-CANARY"),
    *(_kind("Artifactory", f"{name}, path", "puller", token, _PATH) for name, token in _TOKENS.items()),
    *(_kind("Artifactory", f"{name}, subdomain", "puller", token, _SUBDOMAIN) for name, token in _TOKENS.items()),
    _kind("Artifactory", "access token, subdomain and a listed realm", "puller", _TOKENS["access token"], _PLATFORM),
    _kind("Nexus", "local user, port", "puller", "CANARY", _NEXUS_PORT),
    _kind("Nexus", "user token, port", *_CODES, _NEXUS_PORT),
    _kind("Nexus", "user token, path", *_CODES, _NEXUS_PATH),
    _kind("Nexus", "user token, Docker Bearer Token realm", *_CODES, _NEXUS_BEARER),
    _kind("DigitalOcean", "API token", "dop_v1_CANARY", "dop_v1_CANARY", token="dop_v1_CANARY"),
    dataclasses.replace(
        _kind("DigitalOcean", "docker configuration of doctl", "dop_v1_CANARY", "dop_v1_CANARY"), docker_config=True
    ),
    _kind("Generic", "user and password", "puller", "CANARY"),
    dataclasses.replace(_kind("Generic", "docker configuration", "puller", "CANARY"), docker_config=True),
)

EXCHANGED: Mapping[str, tuple[str, ...]] = {
    "ECR": ("access key", "access key with a session token", "access key, repository of another account"),
    "ECRPublic": ("access key",),
    "GHCR": ("GitHub App",),
    "ACR": ("service principal, exchanged",),
    "Harbor": ("two robots of two projects on one host",),
}
"""Kinds whose tests have more to show than a login: tests/providers/test_tokens.py, test_hosts.py."""


def kinds_of(type_: str) -> tuple[str, ...]:
    """Their names, for the page."""
    return (*EXCHANGED.get(type_, ()), *(kind.name for kind in KINDS if kind.type == type_))
