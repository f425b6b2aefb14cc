"""Sonatype Nexus Repository."""

from __future__ import annotations

import re

from pullgate.providers.guide import WRONG_LOGIN, Guide, Trouble
from pullgate.providers.provider import Provider

_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}\Z", re.I)

_GUIDE = Guide(
    type="Nexus",
    title="Sonatype Nexus Repository",
    summary="A local user, or a user token, with read on the Docker repository.",
    steps=(
        "A role with nx-repository-view-docker-REPOSITORY-read and -browse, and a user with that role alone.",
        "Nexus Pro: the User Token of that user, both halves: the name code is the user, the pass code the password.",
        "spec.host is where docker pulls from: the port of the repository's connector, then images read HOST:PORT/IMAGE; its subdomain, HOST/IMAGE; or Nexus' own address where the repository allows path based routing, HOST/REPOSITORY/IMAGE.",
        "Security, Realms: Docker Bearer Token Realm is active (not needed where the repository forces basic authentication).",
    ),
    permission="nx-repository-view-docker-{repo}-read\nnx-repository-view-docker-{repo}-browse",
    commands=(
        (
            "curl -u admin -X POST -H 'Content-Type: application/json' https://{nexus}/service/rest/v1/security/roles -d '\n"
            '  {"id": "pullgate", "name": "pullgate", "privileges":\n'
            '    ["nx-repository-view-docker-{repo}-read", "nx-repository-view-docker-{repo}-browse"]}\'\n'
            "curl -u admin https://{nexus}/service/rest/v1/security/realms/active  # DockerToken is among them"
        ),
    ),
    secret={"username": "{user}", "password": "{token}"},
    secret_type="kubernetes.io/basic-auth",  # noqa: S106 - a type's name
    host="nexus.example.com:8082",
    troubles=(
        WRONG_LOGIN,
        Trouble(
            "UpstreamUnauthorized, though the login is right",
            "the Docker Bearer Token realm is not active",
            "Security, Realms",
        ),
        Trouble("UpstreamForbidden", "the role lacks read or browse on the repository", "add both privileges"),
        Trouble(
            "UpstreamProtocol",
            "spec.host is Nexus' own port, not the Docker connector's: it answers with HTML, or 400 Not a Docker request",
            "name the connector's port, or allow path based routing",
        ),
        Trouble(
            "RepositoryUnknown",
            "port and path routing differ",
            "port: HOST:8082/api; path: HOST/docker-hosted/api",
        ),
    ),
    notes=("A HEAD of a manifest may be 404 where a GET is 200; Pullgate asks again by GET.",),
    user_example="pullgate",
)

_HINTS = {
    "UpstreamUnauthorized": "check the login, and that the Docker Bearer Token realm is active under Security, Realms",
    "UpstreamForbidden": "give the role of {username} read and browse on the Docker repository of {repository}",
    "UpstreamProtocol": "name the port of the Docker connector in spec.host, not that of Nexus; or allow path based routing",
    "RepositoryUnknown": "check the name of the Docker repository in the path, or the port of its connector in spec.host",
}


def _suspect(user: str, password: str, _: str) -> str | None:
    if password.startswith("NpmToken."):
        return "this is a token of npm: use the user and its password, or both halves of its user token"
    if _UUID.match(password):
        return "this looks like a NuGet API key: use the user and its password, or both halves of its user token"
    if user == password:
        return (
            "user and password are the same: of a user token, the name code is the user and the pass code the password"
        )
    return None


PROVIDERS = (Provider(_GUIDE, hints=_HINTS, suspect=_suspect),)
