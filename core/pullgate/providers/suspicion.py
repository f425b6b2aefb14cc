"""Is a credential of the wrong kind? Told from its form alone, where a login failed. Pure; no text holds any of it."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping

from pullgate.providers.credentials import Credentials

_AWS_KEY_ID = re.compile(r"(AKIA|ASIA)[A-Z0-9]{16}\Z")
_AWS_SECRET = re.compile(r"[A-Za-z0-9/+=]{40}\Z")
_PLACEHOLDER = re.compile(
    r"\A(\$\{?[A-Za-z_]\w*\}?|<[^>]*>|\{\{.*\}\}|.*(put-the|changeme|your-token).*|…|\.\.\.)\Z", re.I
)
_GUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}\Z", re.I)

Suspect = Callable[[str, str], str | None]


def suspect(registry_type: str, credentials: Credentials) -> str | None:
    """What the user name and password look like instead, and what is wanted; None where they look right."""
    user, password = credentials.username, credentials.password
    for part, name in ((user, "user name"), (password, "password")):
        if _PLACEHOLDER.match(part.strip()):
            return f"the {name} is a placeholder that nobody filled in"
        if part != part.strip():
            return f"the {name} begins or ends with a space or a line break"
    own = _BY_TYPE.get(registry_type)
    found = own(user, password) if own is not None else None
    return found or (_encoded_twice(password) if registry_type not in {"GAR", "GCR"} else None)


def _encoded_twice(password: str) -> str | None:
    try:
        text = base64.b64decode(password, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    known = re.match(r"(ghp_|dckr_pat_|dckr_oat_|glpat-|gldt-|dop_v1_)", text)
    return "the password is base64 of a token: data wants it encoded once, stringData not at all" if known else None


def _docker_hub(user: str, password: str) -> str | None:
    if "@" in user:
        return "the user name is a mail address: Docker Hub wants the account name"
    if not password.startswith(("dckr_pat_", "dckr_oat_")):
        return "the password looks like that of an account: use an access token (dckr_pat_ or dckr_oat_)"
    return None


def _ecr(user: str, password: str) -> str | None:
    if _AWS_KEY_ID.match(user) or _AWS_SECRET.match(password):
        return "this is an AWS access key: ECR wants the user AWS and what aws ecr get-login-password prints"
    if user != "AWS":
        return "the user name of ECR is always AWS"
    return None


def _google(user: str, password: str) -> str | None:
    if user == "oauth2accesstoken":
        return "an access token ends after an hour: use a service account key" if password.startswith("ya29.") else None
    if user == "_json_key_base64":
        return None
    try:
        key = json.loads(password)
    except ValueError:
        cut = password.lstrip().startswith("{")
        return "the JSON key was cut, at a line break perhaps: put the whole file" if cut else "this is no JSON key"
    if not isinstance(key, dict) or key.get("type") != "service_account":
        return "this JSON is no key of a service account"
    if user != "_json_key":
        return "the user name of a JSON key is _json_key"
    return None


def _github(user: str, password: str) -> str | None:
    if password.startswith("github_pat_"):
        return "a fine-grained token cannot read packages: use a classic one (ghp_) with read:packages"
    if not password.startswith(("ghp_", "ghs_", "gho_")):
        return "this is no GitHub token: use a classic one (ghp_) with read:packages, not the password of the account"
    return None


def _quay(user: str, password: str) -> str | None:
    if user not in {"$oauthtoken", "$token"} and "+" not in user:
        return "this is no robot account: its name reads my-org+robot"
    return None


def _azure(user: str, password: str) -> str | None:
    if password.startswith("eyJ") and user != "00000000-0000-0000-0000-000000000000":
        return "a token of az acr login wants the user 00000000-0000-0000-0000-000000000000, and ends after three hours"
    if _GUID.match(password):
        return "the secret is a GUID: that is its id; use its value, which is shown once"
    return None


def _harbor(user: str, password: str) -> str | None:
    if user.startswith("robot") and not re.match(r"robot[$+_-]", user):
        return "the dollar in the name of the robot account is gone: put the name in single quotes"
    return None


def _gitlab(user: str, password: str) -> str | None:
    if password.startswith("glrt-"):
        return "this is a token of a runner: use a deploy token with read_registry"
    return None


def _digital_ocean(user: str, password: str) -> str | None:
    if password.startswith("dop_v1_") and user != password and "@" not in user:
        return "the API token is user name and password both"
    return None


_BY_TYPE: Mapping[str, Suspect] = {
    "DockerHub": _docker_hub,
    "ECR": _ecr,
    "ECRPublic": _ecr,
    "GAR": _google,
    "GCR": _google,
    "GHCR": _github,
    "Quay": _quay,
    "ACR": _azure,
    "Harbor": _harbor,
    "GitLab": _gitlab,
    "DigitalOcean": _digital_ocean,
}
