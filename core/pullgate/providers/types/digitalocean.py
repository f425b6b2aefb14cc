"""DigitalOcean's container registry."""

from __future__ import annotations

from pullgate.providers.guide import Guide, Trouble
from pullgate.providers.provider import LOGINS, KeyPair, Provider

_GUIDE = Guide(
    type="DigitalOcean",
    title="DigitalOcean Container Registry",
    summary="An API token that may read the registry, as user and password both.",
    steps=(
        "API, Tokens, Generate: custom scopes, registry: read; with an expiration.",
        "Or `doctl registry docker-config` (several registries: `doctl registries docker-config NAME`). It prints a read-only login unless --read-write is set; put it into a dockerconfigjson Secret.",
    ),
    permission="registry:read",
    commands=(
        "doctl registry docker-config --expiry-seconds 7776000",
        "# one of several registries\ndoctl registries docker-config {registry} --expiry-seconds 7776000",
    ),
    secret={"token": "{token}"},
    troubles=(
        Trouble("UpstreamUnauthorized", "the token is wrong, revoked or over", "generate a new one, change the Secret"),
        Trouble(
            "UpstreamForbidden",
            "the token is valid and may not read the registry: the token server answers 403 or 400",
            "generate one with registry: read, in the team that has the registry",
        ),
        Trouble(
            "RepositoryUnknown",
            "the path lacks the registry's name",
            "images read registry.digitalocean.com/REGISTRY/IMAGE",
        ),
    ),
    notes=(
        "DigitalOcean tells nobody when a token ends: note the day as the annotation `pullgate.dev/expires-at` of the Secret, and Pullgate warns in time.",
    ),
    user_example="dop_v1_…",
)

_HINTS = {
    "UpstreamUnauthorized": "generate a new API token with registry read",
    "UpstreamForbidden": "the API token lacks registry: read for {repository}: generate one in the team that has the registry",
    "RepositoryUnknown": "images read REGISTRY/IMAGE: check the name of the registry",
}


def _suspect(user: str, password: str, _: str) -> str | None:
    if password.startswith("dop_v1_") and user != password and "@" not in user:
        return "the API token is user name and password both"
    if password.startswith(("doo_v1_", "dor_v1_")):
        return "this is a token of an OAuth application, which ends soon: use a personal access token (dop_v1_)"
    return None


PROVIDERS = (Provider(_GUIDE, ways=(*LOGINS, KeyPair("token", "token")), hints=_HINTS, suspect=_suspect),)
