"""GitHub's container registry."""

from __future__ import annotations

from pullgate.providers.asked_end import ask_github
from pullgate.providers.exchanges.github import exchange_of_keys
from pullgate.providers.guide import Guide, Trouble
from pullgate.providers.provider import PASSWORD, TOKEN, KeyExchange, Provider

_GUIDE = Guide(
    type="GHCR",
    title="GitHub Container Registry",
    summary="A classic personal access token with read:packages, of an account that may read the packages.",
    steps=(
        "Use a machine account that is a member of the organization and reads the packages (or the repositories that they inherit access from).",
        "Its Settings, Developer settings, Personal access tokens, Tokens (classic), Generate: scope read:packages alone, with an expiration.",
        "If the organization requires SAML single sign-on: Configure SSO beside the token, Authorize.",
    ),
    permission="read:packages",
    commands=(
        (
            "# what a token may do, and when it ends: X-Oauth-Scopes, Github-Authentication-Token-Expiration\n"
            "GH_TOKEN={token} gh api --include user | grep -iE 'x-oauth-scopes|token-expiration'"
        ),
        (
            "# which packages of the organization it sees\n"
            "GH_TOKEN={token} gh api --paginate '/orgs/{org}/packages?package_type=container' --jq '.[].name'"
        ),
    ),
    secret={"username": "{user}", "token": "{token}"},
    troubles=(
        Trouble(
            "KeysRejected",
            "GitHub does not take the app's key, or knows no such installation",
            "generate a new private key; check installationID",
        ),
        Trouble(
            "PermissionMissing", "the app is suspended in the organization", "look at the organization's installed apps"
        ),
        Trouble(
            "UpstreamUnauthorized",
            "the token is wrong or expired: GHCR answers 403 DENIED at its token server",
            "generate a new one, change the Secret",
        ),
        Trouble(
            "UpstreamForbidden",
            "no read:packages, no SSO authorization, or the package does not let the account in; an app's token for a private package",
            "Package settings, Manage access; Configure SSO; a classic token instead of an app",
        ),
        Trouble("ManifestUnknown", "no such tag; also where the account cannot see the package", "check both"),
    ),
    notes=(
        "A GitHub App instead of a person's token: Packages: Read, installed in the organization; an Opaque Secret with `appID`, `installationID` and `privateKey` (the .pem file; GitHub Enterprise Server: `apiURL`, too, and spec.host `containers.HOSTNAME`). Pullgate gets a token of an hour that may read packages and nothing else, shows it to the registry of that API alone, and renews it. Not for private packages: GitHub lets an app's token log in and then refuses it an organization's private packages. Use a classic token for these.",
        "The end of a classic token is read from GitHub's own answer and told 30, 7 and 1 days before.",
        "gh cannot make a classic token; the web page can: github.com/settings/tokens/new?scopes=read:packages.",
        "A fine-grained token (github_pat_…) cannot read packages: it must be a classic one (ghp_…).",
        "The user name is not checked, but must not be empty.",
        "GitHub Enterprise Cloud with data residency: spec.host is `containers.SUBDOMAIN.ghe.com`, and its API `https://api.SUBDOMAIN.ghe.com` (Pullgate finds it by itself). The end of a token is read there as well.",
    ),
    user_example="my-bot",
)

_HINTS = {
    "UpstreamUnauthorized": "generate a new classic token with read:packages: this one is wrong or expired",
    "UpstreamForbidden": "the token needs read:packages, SSO authorization if required, and access to {repository}; the token of an app reads no private package",
    "ManifestUnknown": "check the tag, and that the account may see the package",
}


def _suspect(user: str, password: str, _: str) -> str | None:
    if password.startswith("github_pat_"):
        return "a fine-grained token cannot read packages: use a classic one (ghp_) with read:packages"
    if password.startswith("ghs_"):
        return "this is a token of a workflow or an app, which ends within hours: use a classic one (ghp_), or the key of the app"
    if "PRIVATE KEY-----" in password:
        return (
            "this is the private key of an app: put it into an Opaque Secret with appID, installationID and privateKey"
        )
    if not password.startswith(("ghp_", "gho_")):
        return "this is no GitHub token: use a classic one (ghp_) with read:packages, not the password of the account"
    return None


PROVIDERS = (
    Provider(
        _GUIDE,
        ways=(KeyExchange(("appID", "installationID", "privateKey"), exchange_of_keys), TOKEN, PASSWORD),
        hints=_HINTS,
        suspect=_suspect,
        ask_end=ask_github,
    ),
)
