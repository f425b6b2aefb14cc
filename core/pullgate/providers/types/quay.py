"""Quay, hosted and self-hosted."""

from __future__ import annotations

from pullgate.providers.guide import Guide, Trouble

GUIDE = Guide(
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
