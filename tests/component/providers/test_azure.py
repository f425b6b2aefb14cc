"""ACR's refresh tokens by real azure-identity; every refusal of Entra ID and of the registry is named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pullgate.providers.credentials import Credentials
from pullgate.providers.exchange import CredentialsInvalid, Exchange
from pullgate.providers.provider import Subject
from pullgate.providers.resolve import resolve_credentials, resolve_identity
from pullgate.resources.registry import WorkloadIdentity
from tests.component.providers.issuing import ASKED, CANARY, failure, issue
from tests.support.fakes.clouds.scripted import ScriptedClouds

TENANT, CLIENT = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-000000000000"
NOBODY = "00000000-0000-0000-0000-000000000000"


def principal(host: str, **more: bytes) -> Exchange:
    data = {"tenantID": TENANT.encode(), "clientID": CLIENT.encode(), "clientSecret": CANARY.encode(), **more}
    found = resolve_credentials("ACR", "Opaque", data, host)
    assert not isinstance(found, Credentials)
    return found


def identity(host: str, account: str | None = "acr-puller") -> Exchange:
    written: dict[str, Any] = {"azure": {"tenantID": TENANT, "clientID": CLIENT}}
    if account is not None:
        written["serviceAccountName"] = account
    return resolve_identity("ACR", WorkloadIdentity.model_validate(written), Subject("my-app", "acr", host))


def aadsts(code: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    text = f"{code}: {CANARY}. Trace ID: 1 Correlation ID: 2 Timestamp: 2026-11-24 12:00:00Z"
    return 401, {"error": "invalid_client", "error_description": text, "error_codes": [int(code[6:])]}, {}


async def test_a_service_principal_is_exchanged_for_a_refresh_token(clouds: ScriptedClouds) -> None:
    issued = await issue(principal(clouds.host), clouds.host, clouds.authority.pem)
    assert (issued.kind, issued.credentials.username) == ("ACRRefreshToken", NOBODY)
    assert issued.credentials.password == clouds.issued[0]
    end = issued.credentials.expires_at
    assert end is not None
    assert timedelta(hours=2, minutes=59) < end - datetime.now(UTC) <= timedelta(hours=3)
    (asked,) = clouds.of(f"/{TENANT}/oauth2/v2.0/token")
    assert asked.form["client_id"] == CLIENT
    assert asked.form["client_secret"] == CANARY
    assert asked.form["scope"] == "https://containerregistry.azure.net/.default"
    (exchanged,) = clouds.of("/oauth2/exchange")
    assert exchanged.form == {
        "grant_type": "access_token",
        "service": clouds.host,
        "tenant": TENANT,
        "access_token": "ENTRA-ACCESS",
    }


async def test_the_exchange_names_the_service_of_the_challenge(clouds: ScriptedClouds) -> None:
    clouds.service = "myregistry.azurecr.io"
    await issue(principal(clouds.host), clouds.host, clouds.authority.pem)
    assert clouds.of("/oauth2/exchange")[0].form["service"] == "myregistry.azurecr.io"


async def test_a_service_account_is_an_assertion_and_no_key_is_stored(clouds: ScriptedClouds) -> None:
    ASKED.clear()
    await issue(identity(clouds.host), clouds.host, clouds.authority.pem)
    assert ASKED == [("my-app", "acr-puller", "api://AzureADTokenExchange")]
    (asked,) = clouds.of("/oauth2/v2.0/token")
    assert asked.form["client_assertion"] == f"JWT-{CANARY}"
    assert "client_secret" not in asked.form


async def test_the_own_identity_is_that_of_the_pod(
    clouds: ScriptedClouds, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(f"POD-{CANARY}")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
    await issue(identity(clouds.host, None), clouds.host, clouds.authority.pem)
    assert clouds.of("/oauth2/v2.0/token")[0].form["client_assertion"] == f"POD-{CANARY}"


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        ("AADSTS7000215", "KeysRejected", "client secret is wrong"),
        ("AADSTS7000222", "KeysRejected", "client secret has ended"),
        ("AADSTS700016", "KeysRejected", "no such application"),
        ("AADSTS70021", "IdentityRejected", "no federated credential matches"),
        ("AADSTS700213", "IdentityRejected", "this subject"),
        ("AADSTS700211", "IdentityRejected", "this issuer"),
        ("AADSTS700212", "IdentityRejected", "this audience"),
        ("AADSTS7002131", "IdentityRejected", "this subject"),
        ("AADSTS7000226", "IdentityRejected", "no federated credential"),
        ("AADSTS700024", "ClockWrong", "another time"),
        ("AADSTS53003", "PermissionMissing", "Conditional Access"),
        ("AADSTS999999", "KeysRejected", "AADSTS999999"),
    ],
)
async def test_a_refusal_of_entra_is_named_by_its_code(
    clouds: ScriptedClouds, code: str, reason: str, words: str
) -> None:
    clouds.refuse["/oauth2/v2.0/token"] = aadsts(code)
    error = await failure(principal(clouds.host), clouds.host, clouds.authority.pem)
    assert error.reason == reason
    assert words in error.message
    assert code in error.message


async def test_an_unknown_refusal_of_an_identity_is_no_fault_of_keys(clouds: ScriptedClouds) -> None:
    clouds.refuse["/oauth2/v2.0/token"] = aadsts("AADSTS999999")
    assert (await failure(identity(clouds.host), clouds.host, clouds.authority.pem)).reason == "IdentityRejected"


async def test_a_tenant_that_is_none_is_named(clouds: ScriptedClouds) -> None:
    clouds.refuse["openid-configuration"] = (400, {"error": "invalid_tenant", "error_description": "AADSTS90002"}, {})
    error = await failure(principal(clouds.host), clouds.host, clouds.authority.pem)
    assert error.reason == "KeysRejected"
    assert "tenant" in error.message


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (401, "PermissionMissing", "AcrPull"),
        (403, "PermissionMissing", "firewall"),
        (404, "ExchangeError", "spec.host"),
        (429, "ExchangeLimited", "again"),
        (500, "ExchangeError", "again"),
        (200, "ExchangeError", "spec.host"),
    ],
)
async def test_a_refusal_of_the_registry_is_named(clouds: ScriptedClouds, status: int, reason: str, words: str) -> None:
    clouds.refuse["/oauth2/exchange"] = (status, {"errors": [{"message": CANARY}]}, {"Retry-After": "7"})
    error = await failure(principal(clouds.host), clouds.host, clouds.authority.pem)
    assert error.reason == reason
    assert words in error.fix
    assert error.retry_after == (7.0 if status == 429 else None)


async def test_the_token_of_entra_goes_to_no_server_without_a_trusted_certificate(clouds: ScriptedClouds) -> None:
    error = await failure(principal(clouds.host), clouds.host)
    assert error.reason == "ExchangeUnreachable"
    assert not clouds.of("/oauth2/exchange")


async def test_an_entra_that_is_away_is_named(clouds: ScriptedClouds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert (await failure(principal(clouds.host), clouds.host)).reason == "ExchangeUnreachable"


def test_an_id_that_is_none_is_told_by_its_key() -> None:
    with pytest.raises(CredentialsInvalid, match="tenantID in it is no id"):
        principal("r.azurecr.io", tenantID=b"evil.example/x?")
