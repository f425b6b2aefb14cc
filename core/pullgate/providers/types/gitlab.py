"""GitLab's container registry."""

from __future__ import annotations

from collections.abc import Mapping

from pullgate.providers.asked_end import ask_gitlab
from pullgate.providers.guide import Guide, Trouble
from pullgate.providers.provider import Provider

_GUIDE = Guide(
    type="GitLab",
    title="GitLab container registry",
    summary="A deploy token with read_registry.",
    steps=(
        "The project or group, Settings, Repository, Deploy tokens, Add: name pullgate, scope read_registry, an expiration.",
        "Copy user name and token: the token is shown once.",
    ),
    permission="read_registry",
    commands=(
        (
            "# as an owner or maintainer; for a group: /groups/GROUP/deploy_tokens\n"
            'curl -X POST -H "PRIVATE-TOKEN: $TOKEN" -H "Content-Type: application/json" https://{gitlab}/api/v4/projects/{project}/deploy_tokens -d \'\n'
            '  {"name": "pullgate", "scopes": ["read_registry"], "expires_at": "2027-01-31"}\''
        ),
    ),
    secret={"username": "{user}", "password": "{token}"},
    secret_type="kubernetes.io/basic-auth",  # noqa: S106 - a type's name
    host="registry.gitlab.com",
    troubles=(
        Trouble("UpstreamUnauthorized", "the token is wrong, revoked or over", "add a new one, change the Secret"),
        Trouble("UpstreamForbidden", "the token is of another project, or lacks read_registry", "use one of the group"),
        Trouble(
            "RealmRefused",
            "GitLab's own host gives the tokens, and is on another domain than the registry",
            "list it (gitlab.example.com) in spec.network.realmHosts",
        ),
    ),
    notes=(
        "A self-managed GitLab gives tokens at its own host. If both have one registered domain (gitlab.example.com and registry.example.com), nothing is needed; if not, list GitLab's host in spec.network.realmHosts.",
        "GitLab's tokens live 5 to 15 minutes; Pullgate renews them.",
        "GitLab may ban an address for an hour after 30 failed logins in 3 minutes. Pullgate remembers a refused login and asks again with growing pauses.",
        "A group or project access token (glpat-…) with read_registry works, too; gitlab.com is asked when it ends. A deploy token tells nobody: note the day as the annotation `pullgate.dev/expires-at` of the Secret.",
        "A personal access token sees what its person sees and ends with the account; a CI job token ends with its job.",
    ),
    user_example="gitlab+deploy-token-1",
)

_HINTS = {
    "UpstreamUnauthorized": "add a new deploy token with read_registry: this one is wrong, revoked or over",
    "UpstreamForbidden": "use a deploy token with read_registry of the project or group of {repository}",
    "RealmRefused": "list the host of GitLab itself in spec.network.realmHosts: it gives the tokens",
}

_WRONG: Mapping[str, str] = {
    "glrt-": "this is a token of a runner",
    "glrtr-": "this is a token that registers runners",
    "glcbt-": "this is the token of a CI job, which ends with it",
    "glptt-": "this is a token that triggers pipelines",
    "glft-": "this is a token of feeds",
    "glagent-": "this is a token of an agent for Kubernetes",
    "gloas-": "this is the secret of an OAuth application",
}
"""Prefix of GitLab's other tokens ("Token prefixes" of its documentation) -> what it is."""


def _suspect(user: str, password: str, _: str) -> str | None:
    found = next((words for prefix, words in _WRONG.items() if password.startswith(prefix)), None)
    if found is None and user == "gitlab-ci-token":
        found = _WRONG["glcbt-"]
    if found is not None:
        return f"{found}: use a deploy token with read_registry"
    if password.startswith("glpat-"):
        return "an access token (glpat-) needs the scope read_registry, and a personal one ends with its account: use a deploy token"
    return None


PROVIDERS = (Provider(_GUIDE, hints=_HINTS, suspect=_suspect, ask_end=ask_gitlab),)
