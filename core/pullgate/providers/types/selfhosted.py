"""Registries that vendors run themselves, and those that need no more than a user and a token."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pullgate.providers.asked_end import ask_gitlab
from pullgate.providers.guide import Guide, Trouble
from pullgate.providers.provider import LOGINS, KeyPair, Provider, Suspect

_BASIC = "kubernetes.io/basic-auth"
_LOGIN = {"username": "{user}", "password": "{token}"}
_WRONG = Trouble("UpstreamUnauthorized", "the user or the password is wrong, or was renewed", "change the Secret")

_GUIDES = (
    Guide(
        type="Harbor",
        title="Harbor",
        summary="A robot account of the project that may pull.",
        steps=(
            "The project, Robot Accounts, New: pullgate, with an expiration; permission Repository: Pull (and List for tags).",
            "Copy name and secret: the secret is shown once. The name has a prefix, by default `robot$project+`.",
        ),
        permission="repository: pull",
        secret=_LOGIN,
        secret_type=_BASIC,
        host="harbor.example.com",
        troubles=(
            _WRONG,
            Trouble(
                "UpstreamForbidden",
                "the robot is over, disabled, or of another project",
                "look at the project's robots",
            ),
            Trouble(
                "RealmRefused",
                "Harbor's external URL names another host than spec.host",
                "mend it, or list it in spec.network.realmHosts",
            ),
        ),
        notes=(
            "In YAML and shells, put the name in single quotes: it has a `$`.",
            "One robot for several projects: a system robot.",
        ),
        user_example="robot$my-org+pullgate",
    ),
    Guide(
        type="GitLab",
        title="GitLab container registry",
        summary="A deploy token with read_registry.",
        steps=(
            "The project or group, Settings, Repository, Deploy tokens, Add: name pullgate, scope read_registry, an expiration.",
            "Copy user name and token: the token is shown once.",
        ),
        permission="read_registry",
        secret=_LOGIN,
        secret_type=_BASIC,
        host="registry.gitlab.com",
        troubles=(
            Trouble("UpstreamUnauthorized", "the token is wrong, revoked or over", "add a new one, change the Secret"),
            Trouble(
                "UpstreamForbidden", "the token is of another project, or lacks read_registry", "use one of the group"
            ),
            Trouble(
                "RealmRefused",
                "GitLab's own host gives the tokens",
                "list it (gitlab.example.com) in spec.network.realmHosts",
            ),
        ),
        notes=(
            "A self-managed GitLab gives tokens at its own host, not at the registry's: list it in spec.network.realmHosts.",
            "GitLab's tokens live 5 to 15 minutes; Pullgate renews them.",
        ),
        user_example="gitlab+deploy-token-1",
    ),
    Guide(
        type="Artifactory",
        title="JFrog Artifactory",
        summary="An access token, or a reference token, of a user that may read the Docker repository.",
        steps=(
            "A user or group for Pullgate alone, with Read on the Docker repository by a permission target.",
            "Administration, User Management, Access Tokens, Generate: scope of that user, an expiration.",
        ),
        permission="Read on the repository",
        secret=_LOGIN,
        secret_type=_BASIC,
        host="mycompany.jfrog.io",
        troubles=(
            _WRONG,
            Trouble("UpstreamForbidden", "the permission target lacks the repository", "add Read"),
            Trouble(
                "RepositoryUnknown",
                "path and subdomain modes differ",
                "path: HOST/docker-local/api; subdomain: docker-local.HOST/api",
            ),
        ),
        notes=(
            "A HEAD may lack the digest; Pullgate then fetches the manifest and hashes it.",
            "API keys are deprecated: use a token.",
        ),
        user_example="pullgate",
    ),
    Guide(
        type="Nexus",
        title="Sonatype Nexus Repository",
        summary="A local user, or a user token, with read on the Docker repository.",
        steps=(
            "A role with nx-repository-view-docker-REPOSITORY-read and -browse, and a user with that role alone.",
            "Nexus Pro: the user's User Token instead of the password.",
            "The Docker repository answers at a port of its own (a connector) or by path: spec.host names the connector's port.",
        ),
        permission="nx-repository-view-docker-{repo}-read\nnx-repository-view-docker-{repo}-browse",
        secret=_LOGIN,
        secret_type=_BASIC,
        host="nexus.example.com:8082",
        troubles=(
            _WRONG,
            Trouble(
                "UpstreamUnauthorized, though the login is right",
                "the Docker Bearer Token realm is not active",
                "Security, Realms",
            ),
            Trouble(
                "UpstreamProtocol",
                "spec.host is Nexus' own port, not the Docker connector's",
                "name the connector's port",
            ),
        ),
        notes=("A HEAD of a manifest may be 404 where a GET is 200; Pullgate asks again by GET.",),
        user_example="pullgate",
    ),
    Guide(
        type="DigitalOcean",
        title="DigitalOcean Container Registry",
        summary="An API token that may read the registry, as user and password both.",
        steps=(
            "API, Tokens, Generate: custom scopes, registry: read; with an expiration.",
            "Or doctl registry docker-config --read-only, whose file is a dockerconfigjson Secret.",
        ),
        permission="registry:read",
        commands=("doctl registry docker-config --read-only --expiry-seconds 7776000",),
        secret={"token": "{token}"},
        troubles=(
            Trouble(
                "UpstreamUnauthorized", "the token is wrong, revoked or over", "generate a new one, change the Secret"
            ),
            Trouble(
                "RepositoryUnknown",
                "the path lacks the registry's name",
                "images read registry.digitalocean.com/REGISTRY/IMAGE",
            ),
        ),
        user_example="dop_v1_…",
    ),
    Guide(
        type="Generic",
        title="Any registry of the OCI distribution-spec",
        summary="A user and a password or token that may pull.",
        steps=("An account for Pullgate alone, that may pull and nothing else.",),
        secret=_LOGIN,
        secret_type=_BASIC,
        host="registry.example.com",
        troubles=(
            _WRONG,
            Trouble("RealmRefused", "it names a token server on another domain", "list it in spec.network.realmHosts"),
            Trouble(
                "RedirectRefused", "it, or its storage, is in a private network", "spec.network.allowPrivate: true"
            ),
        ),
        notes=("Without TLS: spec.tls.plainHTTP: true. With a private CA: spec.tls.caSecretRef.",),
        user_example="puller",
    ),
)

_HINTS: Mapping[str, Mapping[str, str]] = {
    "Harbor": {
        "UpstreamUnauthorized": "renew the secret of the robot account {username} in Harbor",
        "UpstreamForbidden": "let the robot account {username} pull from the project of {repository}; it may be disabled or over",
        "RealmRefused": "mend the external URL of Harbor, or list its host in spec.network.realmHosts",
    },
    "GitLab": {
        "UpstreamUnauthorized": "add a new deploy token with read_registry: this one is wrong, revoked or over",
        "UpstreamForbidden": "use a deploy token with read_registry of the project or group of {repository}",
        "RealmRefused": "list the host of GitLab itself in spec.network.realmHosts: it gives the tokens",
    },
    "Artifactory": {
        "UpstreamForbidden": "add Read on {repository} to the permission target of {username}",
        "RepositoryUnknown": "check the Docker repository in the path, or its subdomain in spec.host",
    },
    "Nexus": {
        "UpstreamUnauthorized": "check the login, and that the Docker Bearer Token realm is active under Security, Realms",
        "UpstreamForbidden": "give the role of {username} read and browse on the Docker repository",
        "UpstreamProtocol": "name the port of the Docker connector in spec.host, not that of Nexus",
    },
    "DigitalOcean": {
        "UpstreamUnauthorized": "generate a new API token with registry read",
        "RepositoryUnknown": "images read REGISTRY/IMAGE: check the name of the registry",
    },
}


def _harbor(user: str, password: str) -> str | None:
    if user.startswith("robot") and not re.match(r"robot[$+_-]", user):
        return "the dollar in the name of the robot account is gone: put the name in single quotes"
    return None


def _gitlab(user: str, password: str) -> str | None:
    if password.startswith("glrt-"):
        return "this is a token of a runner: use a deploy token with read_registry"
    return None


def _digital_ocean(user: str, password: str) -> str | None:
    if password.startswith("dop_v1_") and user != password and "@" not in user:
        return "the API token is user name and password both"
    return None


_SUSPECTS: Mapping[str, Suspect] = {"Harbor": _harbor, "GitLab": _gitlab, "DigitalOcean": _digital_ocean}
_WAYS: Mapping[str, tuple[KeyPair, ...]] = {"DigitalOcean": (*LOGINS, KeyPair("token", "token"))}

PROVIDERS = tuple(
    Provider(
        guide,
        ways=_WAYS.get(guide.type, LOGINS),
        hints=_HINTS.get(guide.type, {}),
        suspect=_SUSPECTS.get(guide.type),
        ask_end=ask_gitlab if guide.type == "GitLab" else None,
    )
    for guide in _GUIDES
)
