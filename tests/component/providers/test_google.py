"""Google's access tokens by real google-auth: a pool that trusts a ServiceAccount, the metadata server."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pullgate.providers.exchange import Exchange
from pullgate.providers.provider import Subject
from pullgate.providers.resolve import resolve_identity
from pullgate.resources.registry import WorkloadIdentity
from tests.component.providers.issuing import ASKED, CANARY, failure, issue
from tests.support.fakes.clouds.scripted import ScriptedClouds

HOST = "europe-west1-docker.pkg.dev"
PROVIDER = "projects/1/locations/global/workloadIdentityPools/pool/providers/cluster"
READ_STORAGE = "https://www.googleapis.com/auth/devstorage.read_only"
ACCOUNT = "pullgate@my-project.iam.gserviceaccount.com"


def identity(account: str | None = "gar-puller", **gcp: str) -> Exchange:
    written: dict[str, Any] = {"gcp": gcp}
    if account is not None:
        written["serviceAccountName"] = account
        gcp.setdefault("provider", PROVIDER)
    return resolve_identity("GAR", WorkloadIdentity.model_validate(written), Subject("my-app", "gar", HOST))


async def test_a_service_account_becomes_an_access_token_of_the_pool(clouds: ScriptedClouds) -> None:
    ASKED.clear()
    issued = await issue(identity(), HOST)
    assert (issued.kind, issued.credentials.username) == ("GoogleAccessToken", "oauth2accesstoken")
    assert issued.credentials.password == clouds.issued[0]
    end = issued.credentials.expires_at
    assert end is not None
    assert timedelta(minutes=55) < end - datetime.now(UTC) <= timedelta(hours=1)
    assert [("my-app", "gar-puller", f"https://iam.googleapis.com/{PROVIDER}")] == ASKED
    (asked,) = clouds.of("/v1/token")
    assert asked.form["audience"] == f"//iam.googleapis.com/{PROVIDER}"
    assert asked.form["subject_token"] == f"JWT-{CANARY}"
    assert asked.form["scope"] == READ_STORAGE


async def test_the_pools_identity_acts_as_a_service_account(clouds: ScriptedClouds) -> None:
    issued = await issue(identity(serviceAccount=ACCOUNT), HOST)
    assert issued.credentials.password.startswith("ya29")
    (asked,) = clouds.of("generateAccessToken")
    assert ACCOUNT in asked.path
    assert asked.headers["Authorization"] == f"Bearer {clouds.issued[0]}"
    assert asked.form["scope"] == [READ_STORAGE]


async def test_on_gke_the_metadata_server_gives_the_own_identity(
    clouds: ScriptedClouds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", clouds.metadata)
    monkeypatch.setenv("GCE_METADATA_IP", clouds.metadata)
    monkeypatch.setenv("GCE_METADATA_MTLS_MODE", "none")
    # The library reads them when it is imported, which another test may have done.
    importlib.reload(importlib.import_module("google.auth.compute_engine._metadata"))
    issued = await issue(identity(None), HOST)
    assert issued.credentials.password.startswith("gke")
    assert [asked.query["scopes"] for asked in clouds.of("/token")] == [READ_STORAGE]
    acting = await issue(identity(None, serviceAccount=ACCOUNT), HOST)
    assert acting.credentials.password.startswith("ya29")
    assert clouds.of("generateAccessToken")[0].form["scope"] == [READ_STORAGE]


async def test_a_credential_configuration_of_the_administrator_is_the_own_identity(
    clouds: ScriptedClouds, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "subject").write_text(f"FILE-{CANARY}")
    configuration = {
        "type": "external_account",
        "audience": f"//iam.googleapis.com/{PROVIDER}",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": str(tmp_path / "subject")},
    }
    (tmp_path / "configuration.json").write_text(json.dumps(configuration))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "configuration.json"))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    await issue(identity(None), HOST)
    assert clouds.of("/v1/token")[0].form["subject_token"] == f"FILE-{CANARY}"


STS, ACT = "/v1/token", "generateAccessToken"
DENIED = {"error": {"status": "PERMISSION_DENIED"}}


@pytest.mark.parametrize(
    ("part", "status", "body", "reason", "words"),
    [
        (STS, 400, {"error": "invalid_target", "error_description": "no pool"}, "IdentityRejected", "gcp.provider"),
        (STS, 400, {"error": "invalid_grant", "error_description": "bad issuer"}, "IdentityRejected", "issuer"),
        (STS, 400, {"error": "invalid_grant", "error_description": "token is expired"}, "ClockWrong", "clock"),
        (ACT, 403, DENIED, "PermissionMissing", "workloadIdentityUser"),
    ],
)
async def test_a_refusal_is_named(
    clouds: ScriptedClouds, part: str, status: int, body: dict[str, Any], reason: str, words: str
) -> None:
    clouds.refuse[part] = (status, {**body, "echo": CANARY}, {})
    error = await failure(identity(serviceAccount=ACCOUNT), HOST)
    assert error.reason == reason
    assert words in error.fix


async def test_no_identity_at_all_is_named(clouds: ScriptedClouds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    assert (await failure(identity(None), HOST)).reason == "IdentityMissing"


async def test_a_google_that_is_away_is_named(clouds: ScriptedClouds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert (await failure(identity(), HOST)).reason == "ExchangeUnreachable"


@pytest.mark.parametrize(("type_", "cloud", "extra"), [("GAR", "gcp", "gcp"), ("ACR", "azure", "azure")])
def test_without_the_library_the_extra_is_named(type_: str, cloud: str, extra: str) -> None:
    fields = {"gcp": {"serviceAccount": ACCOUNT}, "azure": {"tenantID": "t", "clientID": "c"}}[cloud]
    script = f"""
import asyncio, sys
for name in ("google.auth", "azure", "azure.identity"):
    sys.modules[name] = None
from pullgate.providers.exchange import ExchangeFailed
from pullgate.providers.provider import Subject
from pullgate.providers.resolve import resolve_identity
from pullgate.resources.registry import WorkloadIdentity
found = resolve_identity({type_!r}, WorkloadIdentity.model_validate({{{cloud!r}: {fields!r}}}), Subject("a", "b", "h"))
try:
    asyncio.run(found.issue(None))
except ExchangeFailed as error:
    print(error.reason, error.fix)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"ExtraMissing install pullgate[{extra}]")
