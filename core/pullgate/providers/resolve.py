"""The vendor's Secret or identity -> user and password, or an exchange that brings them, by registry type. Pure.

`basic-auth` and `dockerconfigjson` work for every type; an Opaque Secret has the keys of its type.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

from pullgate.oci.json_text import read_json
from pullgate.providers.credentials import Credentials
from pullgate.providers.exchange import CredentialsInvalid, Exchange
from pullgate.providers.provider import PASSWORD, KeyExchange, KeyPair, Subject
from pullgate.providers.types import PROVIDERS
from pullgate.resources.fields import canonical_host
from pullgate.resources.registry import WorkloadIdentity

Data = Mapping[str, bytes]

BASIC_AUTH = "kubernetes.io/basic-auth"
DOCKER_CONFIG = "kubernetes.io/dockerconfigjson"
DOCKER_CFG = "kubernetes.io/dockercfg"


def resolve_credentials(registry_type: str, secret_type: str, data: Data, host: str) -> Credentials | Exchange:
    """User and password for the registry at `host` (canonical), or their exchange. Raises CredentialsInvalid."""
    if secret_type == DOCKER_CONFIG:
        return _from_docker_config(_json(data, ".dockerconfigjson").get("auths"), host)
    if secret_type == DOCKER_CFG:
        return _from_docker_config(_json(data, ".dockercfg"), host)
    if secret_type == BASIC_AUTH:
        return _from_pair(PASSWORD, data)
    ways = PROVIDERS[registry_type].ways
    for way in ways:
        if isinstance(way, KeyExchange):
            if all(key in data for key in way.keys):
                return way.make({key: _text(data, key) for key in data}, host)
        elif way.password_key in data and (way.user_key is None or way.user_key in data):
            return _from_pair(way, data)
    found = ", ".join(sorted(data)) or "nothing"
    raise CredentialsInvalid(f"it holds {found}", f"for type {registry_type} it needs {_wanted(ways)}")


def resolve_identity(registry_type: str, identity: WorkloadIdentity, subject: Subject) -> Exchange:
    """The exchange that brings the token of a workload identity. Raises CredentialsInvalid."""
    way = PROVIDERS[registry_type].identity
    if way is None:
        raise CredentialsInvalid(
            f"type {registry_type} knows no workload identity", "use a secretRef with a user name and password"
        )
    if getattr(identity, way.cloud) is None:
        raise CredentialsInvalid(
            f"type {registry_type} is not of this cloud", f"name spec.credentials.workloadIdentity.{way.cloud}"
        )
    return way.make(identity, subject)


def _wanted(ways: tuple[KeyPair | KeyExchange, ...]) -> str:
    texts = []
    for way in ways:
        keys = way.keys if isinstance(way, KeyExchange) else (way.user_key, way.password_key)
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
    except ValueError:
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
        loaded = read_json(_text(data, key))
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
