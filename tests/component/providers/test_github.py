"""Tokens of a GitHub App's installation, and what GitHub says where there is none."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pullgate.providers.credentials import Credentials
from pullgate.providers.exchange import CredentialsInvalid, Exchange
from pullgate.providers.exchanges.github import GitHubApp
from pullgate.providers.resolve import resolve_credentials
from tests.component.providers.issuing import CANARY, failure, issue
from tests.support.fakes.clouds.scripted import ScriptedClouds

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: Any) -> bytes:
    """As GitHub gives it."""
    kind = serialization.PrivateFormat.TraditionalOpenSSL
    return bytes(key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()))


def app(api: str = "", host: str = "ghcr.io", more: dict[str, bytes] | None = None) -> Exchange:
    data = {"appID": b"1234", "installationID": b"5678", "privateKey": pem(KEY), **(more or {})}
    if api:
        data["apiURL"] = api.encode()
    found = resolve_credentials("GHCR", "Opaque", data, host)
    assert not isinstance(found, Credentials)
    return found


def test_an_app_of_a_ghe_com_tenant_asks_the_api_of_that_tenant() -> None:
    data = {"appID": b"1234", "installationID": b"5678", "privateKey": pem(KEY)}
    found = resolve_credentials("GHCR", "Opaque", data, "containers.octo-corp.ghe.com")
    assert isinstance(found, GitHubApp)
    assert found.api == "https://api.octo-corp.ghe.com"


async def test_the_apps_key_signs_for_its_installation_and_brings_an_hour(clouds: ScriptedClouds) -> None:
    issued = await issue(app(), "ghcr.io", clouds.authority.pem)
    assert (issued.kind, issued.credentials.username) == ("GitHubAppToken", "x-access-token")
    assert issued.credentials.password == clouds.issued[0]
    end = issued.credentials.expires_at
    assert end is not None
    assert timedelta(minutes=59) < end - datetime.now(UTC) <= timedelta(hours=1)
    (asked,) = clouds.of("/app/installations/5678/access_tokens")
    claims = jwt.decode(asked.headers["Authorization"].removeprefix("Bearer "), KEY.public_key(), algorithms=["RS256"])
    assert claims["iss"] == "1234"
    assert claims["exp"] - claims["iat"] <= 600
    assert claims["iat"] < time.time()
    assert asked.form == {"permissions": {"packages": "read"}}


@pytest.mark.parametrize(
    ("status", "message", "headers", "reason", "words"),
    [
        (401, "A JSON web token could not be decoded", {}, "KeysRejected", "private key"),
        (401, "'Issued at' claim ('iat') must be an Integer in the past", {}, "ClockWrong", "clock"),
        (401, "'Expiration time' claim ('exp') is too far in the future", {}, "ClockWrong", "clock"),
        (404, "Not Found", {}, "KeysRejected", "number at the end"),
        (403, "This installation has been suspended", {}, "PermissionMissing", "installed apps"),
        (403, "API rate limit exceeded", {"Retry-After": "9"}, "ExchangeLimited", "later"),
        (422, "The permissions requested are not granted to this installation.", {}, "PermissionMissing", "Packages"),
        (429, "slow down", {"Retry-After": "9"}, "ExchangeLimited", "later"),
        (500, "oops", {}, "ExchangeError", "again"),
        (201, "no token in it", {}, "ExchangeError", "apiURL"),
    ],
)
async def test_a_refusal_is_named(
    clouds: ScriptedClouds, status: int, message: str, headers: dict[str, str], reason: str, words: str
) -> None:
    clouds.refuse["/access_tokens"] = (status, {"message": message + CANARY}, headers)
    error = await failure(app(), "ghcr.io", clouds.authority.pem)
    assert error.reason == reason
    assert words in error.fix
    assert error.retry_after == (9.0 if "Retry-After" in headers else None)


async def test_a_key_is_shown_by_https_alone() -> None:
    with pytest.raises(CredentialsInvalid, match="apiURL in it is no https address"):
        app("http://github.example.com/api/v3")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"privateKey": pem(KEY)[:500]}, "privateKey in it is no key in PEM"),
        ({"privateKey": pem(ec.generate_private_key(ec.SECP256R1()))}, "privateKey in it is no RSA key"),
        ({"installationID": b"../../user"}, "installationID in it is no number"),
        ({"appID": b"a/b"}, "appID in it is no id"),
    ],
)
def test_a_secret_that_cannot_work_is_told_by_its_key(data: dict[str, bytes], words: str) -> None:
    with pytest.raises(CredentialsInvalid, match=words):
        app(more=data)


@pytest.mark.parametrize(
    ("api", "host"),
    [
        ("", "ghcr.io"),
        ("https://api.github.com", "ghcr.io:443"),
        ("https://api.octo-corp.ghe.com/", "containers.octo-corp.ghe.com"),
        ("https://GitHub.example.com/api/v3", "containers.github.example.com"),
        ("https://github.example.com:8443/api/v3", "containers.github.example.com"),
    ],
)
def test_an_apps_token_goes_to_the_registry_of_the_api_that_gives_it(api: str, host: str) -> None:
    assert app(api, host)
    for other in ("registry.evil.example", "containers.evil.example", "quay.io"):
        with pytest.raises(CredentialsInvalid, match=f"spec.host {other} is not the registry of https://"):
            app(api, other)
