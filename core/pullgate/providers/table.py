"""The vendor's Secret -> user and password, by registry type. Pure.

`basic-auth` and `dockerconfigjson` work for every type; an Opaque Secret has the keys of its type. Credentials that
must be exchanged for a token first (AWS keys, a cloud's workload identity) are told by name, with what works meanwhile.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass

from pullgate.providers.credentials import Credentials
from pullgate.resources.fields import canonical_host

Data = Mapping[str, bytes]

BASIC_AUTH = "kubernetes.io/basic-auth"
DOCKER_CONFIG = "kubernetes.io/dockerconfigjson"
DOCKER_CFG = "kubernetes.io/dockercfg"


class CredentialsInvalid(ValueError):
    """A Secret from which no credentials can be made. Neither text holds any of its content."""

    def __init__(self, message: str, fix: str) -> None:
        self.message, self.fix = message, fix
        super().__init__(f"{message}; {fix}")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """One way to write an Opaque Secret: the key of the user (or a fixed user) and that of the password."""

    user_key: str | None
    password_key: str
    user: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Keys that must be exchanged for a token first."""

    keys: tuple[str, ...]
    meanwhile: str


_PASSWORD = KeyPair("username", "password")
_TOKEN = KeyPair("username", "token")
_JSON_KEY = KeyPair(None, "serviceAccountKey", "_json_key")
_AWS = Exchange(
    ("accessKeyID", "secretAccessKey"),
    "until then use a basic-auth Secret with user name AWS and the password that aws ecr get-login-password prints",
)

OPAQUE_KEYS: Mapping[str, tuple[KeyPair | Exchange, ...]] = {
    "DockerHub": (_PASSWORD, _TOKEN),
    "ECR": (_PASSWORD, _AWS),
    "ECRPublic": (_PASSWORD, _AWS),
    "GAR": (_JSON_KEY, _PASSWORD),
    "GCR": (_JSON_KEY, _PASSWORD),
    "GHCR": (_TOKEN, _PASSWORD),
    "Quay": (_PASSWORD, _TOKEN),
    # A service principal logs in with its id and secret, as `docker login` does; the tenant is not needed for that.
    "ACR": (KeyPair("clientID", "clientSecret"), _PASSWORD, _TOKEN),
    "Harbor": (_PASSWORD, _TOKEN),
    "GitLab": (_PASSWORD, _TOKEN),
    "Artifactory": (_PASSWORD, _TOKEN),
    "Nexus": (_PASSWORD, _TOKEN),
    "DigitalOcean": (_PASSWORD, _TOKEN, KeyPair("token", "token")),
    "Generic": (_PASSWORD, _TOKEN),
}
"""The ways to write an Opaque Secret, by type; the first whose keys are there is taken."""


def resolve_credentials(registry_type: str, secret_type: str, data: Data, host: str) -> Credentials:
    """User and password for the registry at `host` (canonical). Raises CredentialsInvalid."""
    if secret_type == DOCKER_CONFIG:
        return _from_docker_config(_json(data, ".dockerconfigjson").get("auths"), host)
    if secret_type == DOCKER_CFG:
        return _from_docker_config(_json(data, ".dockercfg"), host)
    if secret_type == BASIC_AUTH:
        return _from_pair(_PASSWORD, data)
    ways = OPAQUE_KEYS[registry_type]
    for way in ways:
        if isinstance(way, Exchange):
            if all(key in data for key in way.keys):
                raise CredentialsInvalid(
                    f"type {registry_type} cannot exchange AWS keys for a token yet", way.meanwhile
                )
        elif way.password_key in data and (way.user_key is None or way.user_key in data):
            return _from_pair(way, data)
    found = ", ".join(sorted(data)) or "nothing"
    raise CredentialsInvalid(f"it holds {found}", f"for type {registry_type} it needs {_wanted(ways)}")


def unsupported_identity(registry_type: str) -> CredentialsInvalid:
    """What to say of a workload identity."""
    return CredentialsInvalid(
        f"type {registry_type} cannot use a workload identity yet", "use a secretRef with a user name and password"
    )


def _wanted(ways: tuple[KeyPair | Exchange, ...]) -> str:
    texts = []
    for way in ways:
        keys = way.keys if isinstance(way, Exchange) else (way.user_key, way.password_key)
        texts.append(" and ".join(dict.fromkeys(key for key in keys if key)))
    return ", or ".join(dict.fromkeys(texts))


def _from_pair(pair: KeyPair, data: Data) -> Credentials:
    user = pair.user if pair.user_key is None else _text(data, pair.user_key)
    return _credentials(user, _text(data, pair.password_key))


def _from_docker_config(auths: object, host: str) -> Credentials:
    if not isinstance(auths, dict):
        raise CredentialsInvalid(
            "its docker configuration has no auths", "make it with kubectl create secret docker-registry"
        )
    entry = next((value for key, value in auths.items() if _config_host(str(key)) == host), None)
    if not isinstance(entry, dict):
        names = ", ".join(sorted({_config_host(str(key)) for key in auths})) or "none"
        raise CredentialsInvalid(f"its docker configuration is for {names}, not for {host}", f"add an entry for {host}")
    user, password = entry.get("username"), entry.get("password")
    if not (user and password) and entry.get("auth"):
        user, password = _from_auth(str(entry["auth"]))
    if not user or not password:
        what = "an identity token" if entry.get("identitytoken") else "no user name and password"
        raise CredentialsInvalid(f"its docker configuration has {what} for {host}", "use a user name and password")
    return _credentials(str(user), str(password))


def _from_auth(text: str) -> tuple[str, str]:
    try:
        user, _, password = base64.b64decode(text, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise CredentialsInvalid("auth in its docker configuration is not base64", "encode user:password") from None
    return user, password


def _config_host(key: str) -> str:
    """The host of a key such as https://index.docker.io/v1/ or quay.io/my-org."""
    return canonical_host(key.partition("://")[2].partition("/")[0] if "://" in key else key.partition("/")[0])


def _text(data: Data, key: str) -> str:
    value = data.get(key)
    if not value:
        raise CredentialsInvalid(f"{key} is missing or empty in it", f"add {key}")
    try:
        # A line break at the end comes from `echo … | base64` and is never meant.
        return value.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise CredentialsInvalid(f"{key} in it is not text", "write it as UTF-8") from None


def _json(data: Data, key: str) -> dict[str, object]:
    try:
        loaded = json.loads(_text(data, key))
    except ValueError as error:
        if isinstance(error, CredentialsInvalid):
            raise
        raise CredentialsInvalid(
            f"{key} in it is not JSON", "make it with kubectl create secret docker-registry"
        ) from None
    return loaded if isinstance(loaded, dict) else {}


def _credentials(user: str, password: str) -> Credentials:
    if ":" in user:  # RFC 7617, section 2
        raise CredentialsInvalid("its user name has a colon", "Basic authentication allows none")
    if any(c < " " or c == "\x7f" for c in user + password.replace("\n", "")):
        raise CredentialsInvalid("its user name or password has a control character", "write it anew")
    return Credentials(username=user, password=password)
