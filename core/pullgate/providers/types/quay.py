"""Quay, hosted and self-hosted."""

from __future__ import annotations

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
    secret={"username": "{user}", "password": "{token}"},
    secret_type="kubernetes.io/basic-auth",  # noqa: S106 - a type's name
    troubles=(
        Trouble(
            "UpstreamUnauthorized", "the robot's token was regenerated, or the robot deleted", "copy the token again"
        ),
        Trouble(
            "UpstreamForbidden",
            "the robot has no Read on this repository",
            "Repository, Settings, User and Robot Permissions",
        ),
        Trouble("RepositoryUnknown", "no such repository", "check the image's name"),
    ),
    notes=(
        "The user name has a plus: `my-org+pullgate`. A person's own name and password work and should not be used.",
        "A self-hosted Quay: set spec.host.",
    ),
    user_example="my-org+pullgate",
)

_HINTS = {
    "UpstreamUnauthorized": "copy the token of the robot account {username} again: it was regenerated, or the robot deleted",
    "UpstreamForbidden": "give the robot account {username} read access to {repository}",
}


def _suspect(user: str, password: str) -> str | None:
    if user not in {"$oauthtoken", "$token"} and "+" not in user:
        return "this is no robot account: its name reads my-org+robot"
    return None


PROVIDERS = (Provider(_GUIDE, hints=_HINTS, suspect=_suspect),)
