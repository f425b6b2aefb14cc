"""Harbor."""

from __future__ import annotations

import re

from pullgate.providers.guide import WRONG_LOGIN, Guide, Trouble
from pullgate.providers.provider import Provider

_GUIDE = Guide(
    type="Harbor",
    title="Harbor",
    summary="A robot account of the project that may pull.",
    steps=(
        "The project, Robot Accounts, New: pullgate, with an expiration; permission Repository: Pull (and List for tags).",
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
        WRONG_LOGIN,
        Trouble(
            "UpstreamForbidden", "the robot is over, disabled, or of another project", "look at the project's robots"
        ),
        Trouble(
            "RealmRefused",
            "Harbor's external URL names another host than spec.host",
            "mend it, or list it in spec.network.realmHosts",
        ),
        Trouble(
            "HostConflict",
            "another Registry of the namespace is for this host, too",
            "nothing, where pulls name the Registry: HOST/proxy/APP/REGISTRY/…",
        ),
    ),
    notes=(
        "In YAML and shells, put the name in single quotes: it has a `$`.",
        (
            "Several robots at one host: a Registry for each, with `repositories` for its project alone. Pulls name the Registry instead of the host: "
            "`PROXY/proxy/{app}/{name}/my-org/api`. Logins and tokens are kept apart by Registry, so a robot's are never shown for another's. "
            "The oldest is also found by the host's name; the others say `HostConflict`, and serve by their own names. A namespace for each is the way without that."
        ),
        "A person's account works and should not be used; where people log in by OIDC, its password is the CLI secret of the user profile.",
        "Harbor tells nobody when a robot ends: note the day as the annotation `pullgate.dev/expires-at` of the Secret, and Pullgate warns in time.",
    ),
    user_example="robot$my-org+pullgate",
)

_HINTS = {
    "UpstreamUnauthorized": "renew the secret of the robot account {username} in Harbor",
    "UpstreamForbidden": "let the robot account {username} pull from the project of {repository}; it may be disabled or over",
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
