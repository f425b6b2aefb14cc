"""Quay, hosted and self-hosted."""

from __future__ import annotations

import re

from pullgate.providers.guide import Guide, Trouble
from pullgate.providers.provider import Provider

_GUIDE = Guide(
    type="Quay",
    title="Quay",
    summary="A robot account of the organization with Read on the repositories.",
    steps=(
        "quay.io, your organization, Robot Accounts, Create Robot Account: pullgate.",
        "Give it Read on the repositories, and on no others.",
        "Click the robot: Kubernetes Secret or Robot Token shows its name (my-org+pullgate) and token.",
    ),
    permission="read, on the repositories",
    commands=(
        (
            "# with an OAuth token of the organization (Applications, Generate Token: Administer Organization, Administer Repositories)\n"
            'curl -X PUT -H "Authorization: Bearer $TOKEN" https://{host}/api/v1/organization/{org}/robots/pullgate\n'
            'curl -X PUT -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -d \'{"role": "read"}\' \\\n'
            "  https://{host}/api/v1/repository/{repository}/permissions/user/{org}+pullgate"
        ),
    ),
    secret={"username": "{user}", "password": "{token}"},
    secret_type="kubernetes.io/basic-auth",  # noqa: S106 - a type's name
    troubles=(
        Trouble(
            "UpstreamUnauthorized", "the robot's token was regenerated, or the robot deleted", "copy the token again"
        ),
        Trouble(
            "UpstreamForbidden",
            "the robot has no Read on this repository, or there is no such repository: Quay answers 401 for both",
            "Repository, Settings, User and Robot Permissions",
        ),
        Trouble(
            "UpstreamForbidden, `This namespace is disabled`",
            "the organization is disabled: Quay answers 405",
            "ask Quay's support, or the administrator",
        ),
    ),
    notes=(
        "The user name has a plus: `my-org+pullgate`. A person's own name and password work and should not be used.",
        "Tokens of Quay's API and of its applications (users `$oauthtoken`, `$app`) are a person's, and should not be used either.",
        "A self-hosted Quay: set spec.host.",
    ),
    user_example="my-org+pullgate",
)

_HINTS = {
    "UpstreamUnauthorized": "copy the token of the robot account {username} again: it was regenerated, or the robot deleted",
    "UpstreamForbidden": "give the robot account {username} read access to {repository}, and check that this repository exists",
}


_PERSONAL = {
    "$oauthtoken": "this is an OAuth token, which a person granted",
    "$app": "this is an application token of a person",
    "$token": "this is an access token of the old sort",
}
"""User names that say what the password is."""


def _suspect(user: str, password: str, _: str) -> str | None:
    if user in _PERSONAL:
        return f"{_PERSONAL[user]}: use a robot account, whose name reads my-org+robot"
    if "+" not in user:
        return "this is no robot account: its name reads my-org+robot"
    if re.fullmatch(r"[A-Za-z0-9]{40}", password):
        return "this looks like an OAuth token of the API: use the token of the robot account itself, of 64 characters"
    return None


PROVIDERS = (Provider(_GUIDE, hints=_HINTS, suspect=_suspect),)
