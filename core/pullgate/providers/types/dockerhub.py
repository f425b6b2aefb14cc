"""Docker Hub."""

from __future__ import annotations

from pullgate.providers.guide import Guide, Trouble

GUIDE = Guide(
    type="DockerHub",
    title="Docker Hub",
    summary="An access token of an account (or an organization) that may read the repositories. Never the account's password.",
    steps=(
        "Log in at hub.docker.com as an account that only reads: a member of a team with Read-only access to the repositories.",
        "Account settings, Personal access tokens, Generate: description pullgate, access Read-only, an expiration that you will remember.",
        "A Team or Business organization: Admin console, Access tokens, Generate: choose the repositories, Image Pull.",
    ),
    secret={"username": "{user}", "token": "{token}"},
    troubles=(
        Trouble(
            "UpstreamUnauthorized", "the token is wrong, revoked or expired", "generate a new one, change the Secret"
        ),
        Trouble(
            "UpstreamForbidden, RepositoryUnknown",
            "the account may not see the repository: Hub says so of a private one that is not yours, too",
            "give its team Read-only access",
        ),
        Trouble(
            "UpstreamRateLimited", "the plan's pulls are used up", "see status.lastCheck.rateLimit; use a paid account"
        ),
    ),
    notes=(
        "Official images are asked below `library/`: `HOST/proxy/{app}/docker.io/nginx` is `library/nginx`.",
        "A HEAD of a manifest is not counted against the limit; Pullgate checks by HEAD.",
        "An organization's token logs in with the organization's name as the user.",
    ),
    user_example="my-bot",
)
