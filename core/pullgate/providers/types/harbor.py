"""Harbor."""

from __future__ import annotations

import re

from pullgate.providers.guide import Guide, Trouble
from pullgate.providers.provider import Provider

_GUIDE = Guide(
    type="Harbor",
    title="Harbor",
    summary="A robot account of the project that may pull.",
    steps=(
        "The project, Robot Accounts, New: pullgate, with an expiration; permission Repository: Pull. Tags need no other permission.",
        "Copy name and secret: the secret is shown once. The name has a prefix, by default `robot$project+`.",
        "Several projects: a robot and a Registry for each (see below), or one system robot (Administration, Robot Accounts) that may pull from all of them.",
    ),
    permission="repository: pull",
    commands=(
        (
            "# a robot of the project {org}, for a year\n"
            "curl -u admin -X POST -H 'Content-Type: application/json' https://{host}/api/v2.0/robots -d '\n"
            '  {"name": "pullgate", "level": "project", "duration": 365, "permissions": [\n'
            '    {"kind": "project", "namespace": "{org}", "access": [{"resource": "repository", "action": "pull"}]}]}\''
        ),
    ),
    secret={"username": "{user}", "password": "{token}"},
    secret_type="kubernetes.io/basic-auth",  # noqa: S106 - a type's name
    host="harbor.example.com",
    troubles=(
        Trouble(
            "UpstreamUnauthorized",
            "the name or the secret is wrong, or the robot is expired or disabled: Harbor answers 401 for all of these",
            "look at the project's robots; change the Secret",
        ),
        Trouble(
            "UpstreamForbidden",
            "the robot is of another project, or lacks Repository: Pull",
            "give it Repository: Pull in the project",
        ),
        Trouble(
            "RealmRefused",
            "Harbor's external URL names another host than spec.host",
            "mend it, or list it in spec.network.realmHosts",
        ),
        Trouble(
            "HostConflict",
            "an older Registry of the namespace has the same host and the same repositories",
            "write the project's own pattern into spec.repositories",
        ),
    ),
    notes=(
        "In YAML and shells, put the name in single quotes: it has a `$`.",
        (
            "Several robots at one host: a Registry for each, with `repositories` for its project alone (`my-org/**`). A pull by the host's name goes to the Registry "
            "whose pattern fits best; a pull may also name the Registry: `PROXY/proxy/{app}/{name}/my-org/api`. Logins and tokens are separate for each Registry, so "
            "a robot's are never sent for another's project."
        ),
        "A person's account works and should not be used; where people log in by OIDC, its password is the CLI secret of the user profile.",
        "Harbor tells nobody when a robot ends: note the day as the annotation `pullgate.dev/expires-at` of the Secret, and Pullgate warns in time.",
    ),
    user_example="robot$my-org+pullgate",
)

_HINTS = {
    "UpstreamUnauthorized": "look at the robot account {username} in Harbor: its secret is wrong, or it is expired or disabled",
    "UpstreamForbidden": "give the robot account {username} Repository: Pull in the project of {repository}",
    "RealmRefused": "mend the external URL of Harbor, or list its host in spec.network.realmHosts",
}


def _suspect(user: str, password: str, _: str) -> str | None:
    if user.startswith("robot") and not re.match(r"robot[$+_-]", user):
        return "the dollar in the name of the robot account is gone: put the name in single quotes"
    if not re.search(r"[$+]", user):
        return (
            "this looks like the account of a person, whose password is refused where people log in by OIDC: "
            "use a robot account (robot$project+name)"
        )
    return None


PROVIDERS = (Provider(_GUIDE, hints=_HINTS, suspect=_suspect),)
