"""JFrog Artifactory."""

from __future__ import annotations

import re

from pullgate.providers.guide import WRONG_LOGIN, Guide, Trouble
from pullgate.providers.provider import Provider

_API_KEY = re.compile(r"AKC[A-Za-z0-9]{10,}\Z")
_ENCRYPTED = re.compile(r"AP[0-9A-F][A-Za-z0-9]{20,}\Z")
_REFERENCE = re.compile(r"cmVmd[A-Za-z0-9]{59}\Z")
"""JFrog's documentation, "Understanding identity tokens"."""

_GUIDE = Guide(
    type="Artifactory",
    title="JFrog Artifactory",
    summary="An access token, or a reference token, of a user that may read the Docker repository.",
    steps=(
        "A user or group for Pullgate alone, with Read on the Docker repository by a permission target.",
        "Administration, User Management, Access Tokens, Generate: scope of that user, an expiration; with a reference token where a short one is wanted.",
        "spec.host is where docker pulls from: the platform's own name, then images read HOST/REPOSITORY/IMAGE (path); or a name for the one repository, then they read HOST/IMAGE (subdomain, or a port).",
    ),
    permission="Read on the repository",
    commands=(
        (
            "# as an administrator: a token of the user pullgate, for a year\n"
            'curl -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" https://{platform}/access/api/v1/tokens -d \'\n'
            '  {"username": "pullgate", "scope": "applied-permissions/user", "expires_in": 31536000, "include_reference_token": true}\''
        ),
    ),
    secret={"username": "{user}", "password": "{token}"},
    secret_type="kubernetes.io/basic-auth",  # noqa: S106 - a type's name
    host="mycompany.jfrog.io",
    troubles=(
        WRONG_LOGIN,
        Trouble(
            "UpstreamForbidden",
            "the permission target lacks the repository; or Xray blocks the image, as the answer says",
            "add Read; or see the policy in Xray",
        ),
        Trouble(
            "RepositoryUnknown",
            "path and subdomain modes differ",
            "path: HOST/docker-local/api; subdomain: docker-local.HOST/api",
        ),
        Trouble(
            "RealmRefused",
            "the platform's own name gives the tokens of a repository's name",
            "list it in spec.network.realmHosts",
        ),
    ),
    notes=(
        "Names by mode: mycompany.jfrog.io/docker-local/api (path) or mycompany-docker-local.jfrog.io/api in JFrog's cloud, docker-local.artifactory.example.com/api or artifactory.example.com:8876/api on your own.",
        "An access token (a JSON Web Token) contains its end; Pullgate warns 30, 7 and 1 days before. A reference token does not: note the day as the annotation `pullgate.dev/expires-at` of the Secret.",
        "A remote repository fetches a cold image first, so a first byte may take 15 s and more.",
        "Artifactory answers a request for referrers with 406; Pullgate then asks for the tag `sha256-…`.",
        "A HEAD may lack the digest; Pullgate then fetches the manifest and hashes it.",
        "API keys (AKCp…) are deprecated and may be switched off: use a token.",
    ),
    user_example="pullgate",
)

_HINTS = {
    "UpstreamUnauthorized": "generate a new access token for {username}: this one is wrong, revoked or over; API keys may be switched off",
    "UpstreamForbidden": "add Read on {repository} to the permission target of {username}; if Xray blocks it, see its policy",
    "RepositoryUnknown": "check the Docker repository in the path, or its subdomain in spec.host",
}


def _suspect(user: str, password: str, _: str) -> str | None:
    if _API_KEY.match(password):
        return "this is an API key, which JFrog deprecated and administrators switch off: use an access token or a reference token"
    if _ENCRYPTED.match(password):
        return "this is the encrypted password of an account, which ends with the password: use an access token"
    if password.startswith("cmVmd") and not _REFERENCE.match(password):
        return "this reference token was cut, or more was added to it: it has 64 characters"
    if password.startswith("eyJ") and password.count(".") != 2:
        return "this access token was cut: it has three parts with dots between"
    if not password.startswith(("cmVmd", "eyJ")):
        return "this looks like the password of an account, which is refused where SSO is required: use an access token"
    return None


PROVIDERS = (Provider(_GUIDE, hints=_HINTS, suspect=_suspect),)
