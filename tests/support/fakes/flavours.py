"""The providers' flavours, by registry type.

Each answer is that of the real service. Its source stands beside it in brackets: the service's own code, the vendor's
documentation, or a public thread (owner/repository#number of GitHub). No provider was asked.
"""

from __future__ import annotations

import dataclasses
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
    # The token server refuses a scoped request and grants one without a scope
    # [Google's "Troubleshoot Config Sync": Permission … denied on resource …].
    denied_at="token server",
    denied=(
        403,
        _error(
            "DENIED",
            'Permission "artifactregistry.repositories.downloadArtifacts" denied on resource '
            '"projects/my-project/locations/europe-west1/repositories/images" (or it may not exist)',
        ),
    ),
    prefix="my-project/",
)

ECR_DENIED = (
    "User: arn:aws:iam::123456789012:user/pullgate is not authorized to perform: ecr:BatchGetImage on resource: "
    "arn:aws:ecr:eu-central-1:123456789012:repository/my-org/secret because no identity-based policy allows the "
    "ecr:BatchGetImage action"
)
"""[everything2/everything2#2562, aws/copilot-cli#3518]"""
ACR_BLOCKED = "client with IP '203.0.113.7' is not allowed access. Refer https://aka.ms/acr/firewall to grant access."
"""[Microsoft, "Troubleshoot network issues with registry"]"""
XRAY_BLOCKED = (
    "Artifact download request rejected: docker-local/my-org/secret/1/manifest.json was not downloaded from JFrog due "
    "to the download blocking policy configured in Xray"
)
"""[JFrog's documentation, "Block download"]"""
QUAY_DISABLED = "This namespace is disabled. Please contact your system administrator."
"""[quay/quay, endpoints/v2/errors.py: NamespaceDisabled, 405 DENIED]"""
NEXUS_PAGE = "<!DOCTYPE html><html><head><title>Sonatype Nexus Repository</title></head><body></body></html>"
"""The UI that answers on Nexus' own port."""

FLAVOURS: Mapping[str, Flavour] = {
    "DockerHub": Flavour(
        "dockerhub",
        service="registry.docker.io",
        own_token_server=False,
        # `Front.retry_after` is the pull limit, at the manifest; `locked_out` is auth.docker.io after failed logins
        # [docker/hub-feedback#2217].
        wrong=(401, {"details": "incorrect username or password"}),
        # [line/kubectl-kustomize#12: a token with less access than was asked for, then 401 insufficient_scope]
        denied=(401, _error("UNAUTHORIZED", "authentication required")),
        denied_challenge="insufficient scope",
        limited=(429, _error("TOOMANYREQUESTS", "You have reached your pull rate limit")),
        rate_headers={"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600"},
    ),
    "ECR": Flavour(
        "ecr",
        scheme="basic",
        wrong=(401, _error("UNAUTHORIZED", "authentication required")),
        # [awslabs/amazon-ecr-credential-helper: 403, not 401, of a password that has expired]
        expired=(403, _error("DENIED", "Your authorization token has expired. Reauthenticate and try again."), False),
        denied=(403, _error("DENIED", ECR_DENIED)),
        limited=(429, _error("TOOMANYREQUESTS", "Rate exceeded")),
        head_digest=False,
        redirects_blobs=True,
    ),
    "ECRPublic": Flavour(
        "ecr-public",
        token_path="/token/",
        challenge_scope="aws",
        wrong=(400, _error("DENIED", "Your Authorization Token is invalid.")),
        expired=(400, _error("DENIED", "Your Authorization Token has expired. Please run 'aws ecr-public'"), False),
        denied=(403, _error("DENIED", "not authorized")),
        # [aws/containers-roadmap#2671, distribution/distribution#4383]
        head_blob_status=401,
        # [CodesWhat/drydock#927]
        last_status=405,
    ),
    "GAR": _GOOGLE,
    "GCR": _GOOGLE,
    "GHCR": Flavour(
        "ghcr",
        wrong=(403, _error("DENIED", "denied")),
        # Also of an app's installation token and a private package: it logs in and is refused here
        # [akuity/kargo#2391, octo-sts/app#840].
        denied=(403, _error("DENIED", "requested access to the resource is denied")),
        index_needs_accept=True,
    ),
    "Quay": Flavour(
        "quay",
        token_path="/v2/auth",
        wrong=(401, {"error": "Invalid Username or Password"}),
        # 401 with a plain Bearer challenge, for no read and for no such repository
        # [quay/quay, auth/registry_jwt_auth.py: get_auth_headers; endpoints/v2/errors.py: Unauthorized].
        denied=(401, _error("UNAUTHORIZED", "access to the requested resource is not authorized")),
        denied_challenge="bearer",
        unknown=(401, _error("UNAUTHORIZED", "access to the requested resource is not authorized")),
    ),
    "ACR": Flavour(
        "acr",
        token_path="/oauth2/token",
        token_field="access_token",
        wrong=(401, _error("UNAUTHORIZED", "authentication required, visit https://aka.ms/acr/authorization")),
        # The token server answers a missing AcrPull like a bad login
        # [bank-vaults/azure-key-vault-to-kubernetes#484; Microsoft, "authentication-required"].
        denied_at="token server",
        denied=(401, _error("UNAUTHORIZED", "authentication required, visit https://aka.ms/acr/authorization")),
        # [renovatebot/renovate#14708, argoproj-labs/argocd-image-updater#1515]
        tags_action="metadata_read",
        checks_actions=True,
    ),
    "Harbor": Flavour(
        "harbor",
        token_path="/service/token",
        service="harbor-registry",
        post_status=405,
        # A wrong login, and an expired or disabled robot [goharbor/harbor, server/middleware/security/robot.go], that
        # asks without a scope; with one it gets a token without access [core/service/token/creator.go].
        wrong=(401, _error("UNAUTHORIZED", "unauthorized: authentication required")),
        strangers_get_tokens=True,
        # Basic whenever an Authorization was sent, also after a granted token
        # [goharbor/harbor, server/middleware/v2auth/auth.go: getChallenge].
        basic_realm="harbor",
        denied=(401, _error("UNAUTHORIZED", "unauthorized to access repository: my-org/secret, action: pull")),
        denied_challenge="basic",
    ),
    "GitLab": Flavour(
        "gitlab",
        token_path="/jwt/auth",
        service="container_registry",
        own_token_server=False,
        # [basecamp/kamal#1498]
        wrong=(401, _error("UNAUTHORIZED", "HTTP Basic: Access denied.")),
        # [n0madic/gitlab-registry-images-cleaner#13: a token comes, then 401 of the registry]
        denied=(401, _error("UNAUTHORIZED", "authentication required")),
        denied_challenge="insufficient scope",
        # [GitLab's "Rate limits": 30 failed logins in 3 minutes; then 403 for an hour]
        ban_after=30,
    ),
    "Artifactory": Flavour(
        "artifactory",
        token_path="/artifactory/api/docker/null/v2/token",
        wrong=(401, {"errors": [{"status": 401, "message": "Bad credentials"}]}),
        denied=(403, _error("DENIED", "The client does not have permission for manifest")),
        head_digest=False,
        # [google/go-containerregistry#1962, #2026]
        referrers_status=406,
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
        # 403, or 400, of the token server for a valid token [docker/build-push-action#585, #586].
        denied_at="token server",
        denied=(403, {"id": "forbidden", "message": "You are not authorized to perform this operation"}),
    ),
    "Generic": Flavour("generic", scheme="basic", denied=(403, _error("DENIED", "denied"))),
}

NVCR = Flavour(
    "nvcr",
    token_path="/proxy_auth",
    service="",
    realm_has_scope=True,
    denied=(401, _error("UNAUTHORIZED", "authentication required")),
    denied_challenge="bearer",
)
"""nvcr.io: no `service`, and a realm that carries the scope [sapcc/keppel#731, google/go-containerregistry#728]."""
ELSEWHERE = Flavour("scaleway", own_token_server=False, address="127.0.0.2", denied_challenge="insufficient scope")
"""Scaleway and Alibaba Cloud: the tokens are of another host [their documentation: api.scaleway.com, dockerauth.…]."""
DIGITALOCEAN_400 = dataclasses.replace(
    FLAVOURS["DigitalOcean"], denied=(400, {"id": "bad_request", "message": "denied"})
)

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
