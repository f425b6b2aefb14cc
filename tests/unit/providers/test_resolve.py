"""From a Secret to credentials, for every type; no message holds any of the Secret's content."""

from __future__ import annotations

import base64
import json
from typing import get_args

import pytest

from pullgate.providers.credentials import Credentials
from pullgate.providers.exchange import CredentialsInvalid
from pullgate.providers.resolve import BASIC_AUTH, DOCKER_CONFIG, resolve_credentials
from pullgate.providers.types import PROVIDERS
from pullgate.resources.registry_type import REGISTRY_TYPES, TypeName

TYPES = get_args(TypeName)


def test_every_type_has_its_rows() -> None:
    assert set(TYPES) == set(REGISTRY_TYPES) == set(PROVIDERS)


@pytest.mark.parametrize("type_", TYPES)
def test_basic_auth_works_for_every_type(type_: str) -> None:
    found = resolve_credentials(type_, BASIC_AUTH, {"username": b"u", "password": b"p\n"}, "quay.io")
    assert isinstance(found, Credentials)
    assert (found.username, found.password) == ("u", "p")
    assert "'p'" not in repr(found)


@pytest.mark.parametrize(
    ("key", "entry", "host"),
    [
        ("quay.io", {"username": "u", "password": "p"}, "quay.io"),
        ("https://quay.io", {"username": "u", "password": "p"}, "quay.io"),
        ("https://index.docker.io/v1/", {"auth": base64.b64encode(b"u:p").decode()}, "docker.io"),
        ("registry.example:5000", {"auth": base64.b64encode(b"u:p").decode()}, "registry.example:5000"),
    ],
)
def test_a_docker_configuration_is_read_for_the_host(key: str, entry: dict[str, str], host: str) -> None:
    config = json.dumps({"auths": {"other.example": {"auth": "eDp5"}, key: entry}}).encode()
    found = resolve_credentials("Generic", DOCKER_CONFIG, {".dockerconfigjson": config}, host)
    assert isinstance(found, Credentials)
    assert (found.username, found.password) == ("u", "p")


@pytest.mark.parametrize(
    ("type_", "data", "user", "password"),
    [
        ("DockerHub", {"username": b"u", "token": b"t"}, "u", "t"),
        ("GHCR", {"username": b"u", "token": b"t", "password": b"p"}, "u", "t"),
        ("GAR", {"serviceAccountKey": b'{"type": "service_account"}\n'}, "_json_key", '{"type": "service_account"}'),
        ("ACR", {"clientID": b"id", "clientSecret": b"s"}, "id", "s"),
        ("DigitalOcean", {"token": b"t"}, "t", "t"),
    ],
)
def test_an_opaque_secret_has_the_keys_of_its_type(
    type_: str, data: dict[str, bytes], user: str, password: str
) -> None:
    found = resolve_credentials(type_, "Opaque", data, "any.example")
    assert isinstance(found, Credentials)
    assert (found.username, found.password) == (user, password)


@pytest.mark.parametrize(
    ("type_", "secret_type", "data", "said"),
    [
        ("Quay", "Opaque", {"user": b"SECRET"}, "it holds user; for type Quay it needs username and password, or"),
        ("Quay", BASIC_AUTH, {"username": b"SECRET"}, "password is missing or empty in it; add password"),
        ("Quay", BASIC_AUTH, {"username": b"a:b", "password": b"SECRET"}, "its user name has a colon"),
        ("Quay", BASIC_AUTH, {"username": b"a", "password": b"SECRET\x00"}, "control character"),
        ("Quay", BASIC_AUTH, {"username": b"a", "password": b"\xffSECRET"}, "password in it is not text"),
        (
            "Quay",
            DOCKER_CONFIG,
            {".dockerconfigjson": '{"auths": {"quay.io": {"auth": "SECRETé"}}}'.encode()},
            "auth in its docker configuration is not base64",
        ),
        ("Quay", DOCKER_CONFIG, {".dockerconfigjson": b"{SECRET"}, ".dockerconfigjson in it is not JSON"),
        ("Quay", DOCKER_CONFIG, {".dockerconfigjson": b'{"auths": {"a.example": {}}}'}, "is for a.example, not for qu"),
        (
            "Quay",
            DOCKER_CONFIG,
            {".dockerconfigjson": b'{"auths": {"quay.io": {"identitytoken": "SECRET"}}}'},
            "an identity token for quay.io; use a user name and password",
        ),
    ],
)
def test_what_is_wrong_is_said_without_the_content(
    type_: str, secret_type: str, data: dict[str, bytes], said: str
) -> None:
    with pytest.raises(CredentialsInvalid) as caught:
        resolve_credentials(type_, secret_type, data, "quay.io")
    assert said in str(caught.value)
    assert "SECRET" not in str(caught.value)
