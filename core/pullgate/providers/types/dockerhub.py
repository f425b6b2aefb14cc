"""Docker Hub."""

from __future__ import annotations

from pullgate.providers.guide import Guide, Trouble
from pullgate.providers.provider import Provider

_GUIDE = Guide(
    type="DockerHub",
    title="Docker Hub",
    summary="An access token of an account (or an organization) that may read the repositories. Never the account's password.",
    steps=(
        "Log in at hub.docker.com as an account that only reads: a member of a team with Read-only access to the repositories.",
        "Account settings, Personal access tokens, Generate: description pullgate, access Read-only, an expiration that you will remember.",
        "A Team or Business organization: Admin console, Access tokens, Generate: choose the repositories, Image Pull.",
    ),
    commands=(
        (
            "# what is left of the rate limit, as the token sees it\n"
            'TOKEN=$(curl -s --user "{user}:$PASSWORD" "https://auth.docker.io/token?service=registry.docker.io&scope=repository:ratelimitpreview/test:pull" | jq -r .token)\n'
            'curl -sI -H "Authorization: Bearer $TOKEN" https://registry-1.docker.io/v2/ratelimitpreview/test/manifests/latest | grep -i ratelimit'
        ),
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
            "UpstreamRateLimited, at a manifest",
            "the plan's pulls are used up, for a window of hours",
            "see status.lastCheck.rateLimit; use a paid account",
        ),
        Trouble(
            "UpstreamRateLimited, at the login",
            "too many failed logins from this address: Docker Hub locks it for about 15 minutes",
            "correct the Secret, then wait",
        ),
    ),
    notes=(
        "Official images are asked below `library/`: `HOST/proxy/{app}/docker.io/nginx` is `library/nginx`.",
        "`docker.io`, `index.docker.io`, `registry-1.docker.io` and `registry.hub.docker.com` are one registry: a reference may name any of them.",
        "A HEAD of a manifest is not counted against the limit; Pullgate checks by HEAD.",
        "An organization's token (dckr_oat_…) logs in with the organization's name as the user.",
        "If an organization enforces single sign-on, its members cannot log in with a password here: only a token does.",
    ),
    user_example="my-bot",
)

_HINTS = {
    "UpstreamUnauthorized": "generate a new access token at Docker Hub for {username}, with Read-only",
    "UpstreamForbidden": "give the team of {username} Read-only access to {repository} at Docker Hub",
    "RepositoryUnknown": "check the name; Docker Hub says so, too, of a private repository that {username} may not see",
    "UpstreamRateLimited": "the pulls of the Docker Hub plan are used up: wait, or use a paid account",
}


def _suspect(user: str, password: str, _: str) -> str | None:
    if "@" in user:
        return "the user name is a mail address: Docker Hub wants the account name, or the organization's for its token"
    if not password.startswith(("dckr_pat_", "dckr_oat_")):
        return (
            "this looks like the password of an account, which is refused where SSO or two factors are required: "
            "use an access token (dckr_pat_ or dckr_oat_)"
        )
    return None


PROVIDERS = (
    # The repository that Docker's documentation names for this; its HEAD is not counted.
    Provider(_GUIDE, hints=_HINTS, suspect=_suspect, quota=("ratelimitpreview/test", "latest")),
)
