"""GitHub's container registry."""

from __future__ import annotations

from pullgate.providers.guide import Guide, Trouble

GUIDE = Guide(
    type="GHCR",
    title="GitHub Container Registry",
    summary="A classic personal access token with read:packages, of an account that may read the packages.",
    steps=(
        "Use a machine account that is a member of the organization and reads the packages (or the repositories that they inherit access from).",
        "Its Settings, Developer settings, Personal access tokens, Tokens (classic), Generate: scope read:packages alone, with an expiration.",
        "Where the organization requires SAML single sign-on: Configure SSO beside the token, Authorize.",
    ),
    permission="read:packages",
    secret={"username": "{user}", "token": "{token}"},
    troubles=(
        Trouble(
            "UpstreamUnauthorized",
            "the token is wrong or expired: GHCR answers 403 DENIED at its token server",
            "generate a new one, change the Secret",
        ),
        Trouble(
            "UpstreamForbidden",
            "no read:packages, no SSO authorization, or the package does not let the account in",
            "Package settings, Manage access; Configure SSO",
        ),
        Trouble("ManifestUnknown", "no such tag; also where the account cannot see the package", "check both"),
    ),
    notes=(
        "A fine-grained token (github_pat_…) cannot read packages: it must be a classic one (ghp_…).",
        "The user name is not checked, but must not be empty.",
    ),
    user_example="my-bot",
)
