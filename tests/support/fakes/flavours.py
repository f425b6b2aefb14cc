"""The providers' flavours, by registry type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.fakes.front import Flavour


def _error(code: str, message: str) -> dict[str, Any]:
    return {"errors": [{"code": code, "message": message}]}


_GOOGLE = Flavour(
    "google",
    token_path="/v2/token",
    post_status=404,
    wrong=(401, _error("UNAUTHORIZED", "authentication failed")),
    denied=(403, _error("DENIED", 'Permission "artifactregistry.repositories.downloadArtifacts" denied')),
    prefix="my-project/",
)

FLAVOURS: Mapping[str, Flavour] = {
    "DockerHub": Flavour(
        "dockerhub",
        service="registry.docker.io",
        own_token_server=False,
        wrong=(401, {"details": "incorrect username or password"}),
        denied=(401, _error("UNAUTHORIZED", "authentication required")),
        limited=(429, _error("TOOMANYREQUESTS", "You have reached your pull rate limit")),
        rate_headers={"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600"},
    ),
    "ECR": Flavour(
        "ecr",
        scheme="basic",
        wrong=(401, _error("UNAUTHORIZED", "authentication required")),
        expired=(403, _error("DENIED", "Your authorization token has expired. Reauthenticate and try again."), False),
        denied=(403, _error("DENIED", "User: arn:aws:iam::1:user/x is not authorized to perform: ecr:BatchGetImage")),
        limited=(429, _error("TOOMANYREQUESTS", "Rate exceeded")),
        head_digest=False,
        redirects_blobs=True,
    ),
    "ECRPublic": Flavour(
        "ecr-public",
        token_path="/token/",
        wrong=(400, _error("DENIED", "Your Authorization Token is invalid.")),
        expired=(400, _error("DENIED", "Your Authorization Token has expired. Please run 'aws ecr-public'"), False),
        denied=(403, _error("DENIED", "not authorized")),
    ),
    "GAR": _GOOGLE,
    "GCR": _GOOGLE,
    "GHCR": Flavour(
        "ghcr",
        wrong=(403, _error("DENIED", "denied")),
        denied=(403, _error("DENIED", "requested access to the resource is denied")),
        index_needs_accept=True,
    ),
    "Quay": Flavour(
        "quay",
        token_path="/v2/auth",
        wrong=(401, {"error": "Invalid Username or Password"}),
        denied=(401, _error("UNAUTHORIZED", "access to the requested resource is not authorized")),
    ),
    "ACR": Flavour(
        "acr",
        token_path="/oauth2/token",
        token_field="access_token",
        wrong=(401, _error("UNAUTHORIZED", "authentication required, visit https://aka.ms/acr/authorization")),
        denied=(403, _error("DENIED", "requested access to the resource is denied")),
    ),
    "Harbor": Flavour(
        "harbor",
        token_path="/service/token",
        service="harbor-registry",
        post_status=405,
        wrong=(401, _error("UNAUTHORIZED", "unauthorized: authentication required")),
        denied=(401, _error("UNAUTHORIZED", "unauthorized to access repository")),
    ),
    "GitLab": Flavour(
        "gitlab",
        token_path="/jwt/auth",
        service="container_registry",
        own_token_server=False,
        wrong=(403, _error("DENIED", "access forbidden")),
        denied=(403, _error("DENIED", "requested access to the resource is denied")),
    ),
    "Artifactory": Flavour(
        "artifactory",
        token_path="/artifactory/api/docker/null/v2/token",
        wrong=(401, {"errors": [{"status": 401, "message": "Bad credentials"}]}),
        denied=(403, _error("DENIED", "The client does not have permission for manifest")),
        head_digest=False,
        prefix="docker-local/",
    ),
    "Nexus": Flavour(
        "nexus",
        scheme="basic",
        wrong=(401, _error("UNAUTHORIZED", "access to the requested resource is not authorized")),
        denied=(403, _error("DENIED", "access to the requested resource is not authorized")),
        head_status=404,
    ),
    "DigitalOcean": Flavour(
        "digitalocean",
        token_path="/v2/registry/auth",
        own_token_server=False,
        wrong=(401, {"id": "Unauthorized", "message": "Unable to authenticate you"}),
        denied=(401, _error("UNAUTHORIZED", "authentication required")),
    ),
    "Generic": Flavour("generic", scheme="basic", denied=(403, _error("DENIED", "denied"))),
}

LOGINS: Mapping[str, dict[str, str]] = {
    "DockerHub": {"username": "my-bot", "token": "dckr_pat_CANARY-SECRET"},
    "ECR": {"username": "AWS", "password": "ECR-CANARY-SECRET"},
    "ECRPublic": {"username": "AWS", "password": "ECR-CANARY-SECRET"},
    "GAR": {"serviceAccountKey": '{"type": "service_account", "private_key": "CANARY-SECRET"}'},
    "GCR": {"serviceAccountKey": '{"type": "service_account", "private_key": "CANARY-SECRET"}'},
    "GHCR": {"username": "my-bot", "token": "ghp_CANARY-SECRET"},
    "Quay": {"username": "my-org+puller", "password": "CANARY-SECRET"},
    "ACR": {"clientID": "11111111-2222-3333-4444-555555555555", "clientSecret": "CANARY-SECRET"},
    "Harbor": {"username": "robot$my-org+puller", "password": "CANARY-SECRET"},
    "GitLab": {"username": "gitlab+deploy-token-1", "token": "gldt-CANARY-SECRET"},
    "Artifactory": {"username": "puller", "token": "CANARY-SECRET"},
    "Nexus": {"username": "puller", "password": "CANARY-SECRET"},
    "DigitalOcean": {"token": "dop_v1_CANARY-SECRET"},
    "Generic": {"username": "puller", "password": "CANARY-SECRET"},
}
"""A static login of each type, by the keys of its Opaque Secret."""
