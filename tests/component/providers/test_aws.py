"""ECR's tokens by real botocore: keys and identities go where they should, and each refusal is named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from pullgate.providers.exchange import CredentialsInvalid, Exchange, ExchangeFailed, Issued, Tools
from pullgate.providers.exchanges.aws import EcrHost, StaticKeys, build_client, find_place, parse_ecr_host
from pullgate.providers.provider import Subject
from pullgate.providers.resolve import resolve_credentials, resolve_identity
from pullgate.resources.registry import WorkloadIdentity
from pullgate.upstream.config import UpstreamConfig
from pullgate.upstream.exchange_http import ExchangeHttp
from tests.support.fakes.clouds.aws import Asked, ScriptedAws, moto

HOST = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
ROLE = "arn:aws:iam::123456789012:role/puller"
CANARY = "CANARY-aB3xY9"
PULL = {
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:BatchImportUpstreamImage",
    "ecr:CreateRepository",
    "ecr:GetAuthorizationToken",
    "ecr:GetDownloadUrlForLayer",
    "ecr:ListImages",
}
KEYS = {"accessKeyID": b"AKIACANARYID", "secretAccessKey": CANARY.encode()}
ENVIRONMENT = (
    "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE AWS_ROLE_ARN AWS_WEB_IDENTITY_TOKEN_FILE "
    "AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AWS_CA_BUNDLE"
)


@pytest_asyncio.fixture
async def aws(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ScriptedAws]:
    for name in ENVIRONMENT.split():
        monkeypatch.delenv(name, raising=False)
    nowhere = tmp_path_factory.mktemp("aws")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(nowhere / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with ScriptedAws() as scripted:
        monkeypatch.setenv("AWS_ENDPOINT_URL", scripted.url)
        yield scripted


def keys(host: str = HOST, type_: str = "ECR", **more: bytes) -> Exchange:
    found = resolve_credentials(type_, "Opaque", {**KEYS, **more}, host)
    assert hasattr(found, "issue")
    return found  # type: ignore[return-value]


def identity(role: str | None = ROLE, account: str | None = None) -> Exchange:
    aws = {"roleARN": role} if role else {}
    written = {"aws": aws, **({"serviceAccountName": account} if account else {})}
    found = WorkloadIdentity.model_validate(written)
    return resolve_identity("ECR", found, Subject("my-app", "ecr", HOST))


def actions_of(assume: Asked) -> set[str]:
    """The actions of the session policy of AssumeRole."""
    (statement,) = json.loads(assume.form["Policy"])["Statement"]
    assert (statement["Effect"], statement["Resource"]) == ("Allow", "*")
    return set(statement["Action"])


async def issue(exchange: Exchange) -> Issued:
    async def token(namespace: str, name: str, audience: str) -> str:
        assert (namespace, name, audience) == ("my-app", "ecr-puller", "sts.amazonaws.com")
        return f"JWT-{CANARY}"

    config = UpstreamConfig("my-app/ecr", HOST, HOST)
    return await exchange.issue(Tools(ExchangeHttp(config), lambda: datetime.now(UTC), token))


async def failure(exchange: Exchange) -> ExchangeFailed:
    with pytest.raises(ExchangeFailed) as caught:
        await issue(exchange)
    assert CANARY not in str(caught.value) + repr(caught.value.__context__) + repr(exchange)
    return caught.value


# --- hosts


@pytest.mark.parametrize(
    ("host", "found"),
    [
        (HOST, EcrHost("eu-central-1", "123456789012")),
        (f"{HOST}:443", EcrHost("eu-central-1", "123456789012")),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", EcrHost("cn-north-1", "123456789012")),
        ("123456789012.dkr.ecr.us-gov-west-1.amazonaws.com", EcrHost("us-gov-west-1", "123456789012")),
        ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", EcrHost("us-east-1", "123456789012", fips=True)),
        ("123456789012.dkr-ecr.eu-west-1.on.aws", EcrHost("eu-west-1", "123456789012", dual_stack=True)),
        ("123456789012.dkr-ecr-fips.us-east-1.on.aws", EcrHost("us-east-1", "123456789012", True, True)),
        (
            "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
            EcrHost("cn-north-1", "123456789012", False, True),
        ),
        ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", EcrHost("us-iso-east-1", "123456789012")),
        ("123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", EcrHost("eu-isoe-west-1", "123456789012")),
        ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", EcrHost("eusc-de-east-1", "123456789012")),
        ("public.ecr.aws", None),
        ("12345.dkr.ecr.eu-central-1.amazonaws.com", None),
        ("123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.example", None),
        ("123456789012.dkr.ecr.eu-central-1.amazonaws.com.eu", None),
        ("123456789012.dkr.ecr.evil.example/x.amazonaws.com", None),
        ("registry.example.com", None),
    ],
)
def test_a_host_tells_region_partition_and_endpoint(host: str, found: EcrHost | None) -> None:
    assert parse_ecr_host(host) == found


def test_no_password_of_aws_is_asked_for_a_host_of_ones_own_whatever_region_is_named() -> None:
    with pytest.raises(CredentialsInvalid, match="images.example.com is no host of Amazon ECR, .*write spec"):
        keys("images.example.com")
    with pytest.raises(CredentialsInvalid, match="is no host of Amazon ECR"):
        keys("images.example.com", region=b"eu-west-3")
    with pytest.raises(CredentialsInvalid, match="none of AWS"):
        keys(region=b"evil.example/")


ENDPOINTS = [
    (HOST, "api.ecr.eu-central-1.amazonaws.com", "sts.eu-central-1.amazonaws.com"),
    (
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
        "api.ecr.cn-north-1.amazonaws.com.cn",
        "sts.cn-north-1.amazonaws.com.cn",
    ),
    (
        "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com",
        "api.ecr.us-gov-west-1.amazonaws.com",
        "sts.us-gov-west-1.amazonaws.com",
    ),
    (
        "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
        "ecr-fips.us-east-1.amazonaws.com",
        "sts-fips.us-east-1.amazonaws.com",
    ),
    ("123456789012.dkr-ecr.eu-west-1.on.aws", "ecr.eu-west-1.api.aws", "sts.eu-west-1.api.aws"),
    ("123456789012.dkr-ecr-fips.us-east-1.on.aws", "ecr-fips.us-east-1.api.aws", "sts-fips.us-east-1.api.aws"),
]


@pytest.mark.parametrize(("host", "ecr", "sts"), ENDPOINTS)
def test_each_partition_fips_and_dual_stack_is_asked_at_its_own_endpoint(host: str, ecr: str, sts: str) -> None:
    place = find_place("ECR", host, None)
    for service, endpoint in (("ecr", ecr), ("sts", sts)):
        assert build_client(service, place, StaticKeys("A", "S", None)).meta.endpoint_url == f"https://{endpoint}"


def test_ecr_publics_api_is_in_its_only_region() -> None:
    place = find_place("ECRPublic", "public.ecr.aws", None)
    client = build_client(place.service, place, StaticKeys("A", "S", None))
    assert client.meta.endpoint_url == "https://api.ecr-public.us-east-1.amazonaws.com"


# --- what goes well


async def test_keys_bring_a_password_with_its_end(aws: ScriptedAws) -> None:
    issued = await issue(keys())
    assert (issued.kind, issued.credentials.username) == ("ECRToken", "AWS")
    assert issued.credentials.password == aws.tokens[0]
    end = issued.credentials.expires_at
    assert end is not None
    assert timedelta(hours=11, minutes=59) < end - datetime.now(UTC) <= timedelta(hours=12)
    assert "AKIACANARYID" in aws.asked[0].authorization
    assert "/eu-central-1/ecr/" in aws.asked[0].authorization
    assert aws.tokens[0] not in repr(issued)


async def test_keys_of_a_role_are_shown_with_their_session_token(aws: ScriptedAws) -> None:
    await issue(keys(sessionToken=b"CANARY-SESSION"))
    (asked,) = aws.asked
    assert asked.session == "CANARY-SESSION"
    await issue(keys())
    assert aws.asked[-1].session == ""


async def test_the_account_of_the_host_is_not_that_of_the_keys(aws: ScriptedAws) -> None:
    """A password belongs to an identity, not to a registry, so the request names no registry."""
    await issue(keys("999999999999.dkr.ecr.eu-central-1.amazonaws.com"))
    (asked,) = aws.asked
    assert "999999999999" not in asked.body + asked.authorization


async def test_a_role_of_another_account_is_assumed_with_the_external_id(
    aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{aws.url}/pod")
    await issue(identity("arn:aws:iam::999999999999:role/puller"))
    assert aws.asked[0].form["RoleArn"] == "arn:aws:iam::999999999999:role/puller"
    assert aws.asked[0].form["ExternalId"] == "pullgate/my-app"


async def test_ecr_public_is_asked_in_its_only_region(aws: ScriptedAws) -> None:
    issued = await issue(keys("public.ecr.aws", "ECRPublic"))
    assert issued.kind == "ECRPublicToken"
    assert "/us-east-1/ecr-public/" in aws.asked[0].authorization


async def test_moto_takes_what_is_sent(aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    with moto() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert (await issue(keys())).credentials.username == "AWS"
        assert (await issue(identity(account="ecr-puller"))).kind == "ECRToken"


async def test_a_service_account_becomes_a_role_without_any_key(aws: ScriptedAws) -> None:
    await issue(identity(account="ecr-puller"))
    assume, ask = aws.asked
    assert (assume.operation, assume.authorization) == ("AssumeRoleWithWebIdentity", "")
    assert assume.form["RoleArn"] == ROLE
    assert assume.form["WebIdentityToken"] == f"JWT-{CANARY}"
    assert assume.form["RoleSessionName"] == "pullgate-my-app"
    assert actions_of(assume) == PULL
    assert "ASIAASSUMED" in ask.authorization


async def test_the_own_identity_tells_aws_for_which_namespace_it_asks(
    aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{aws.url}/pod")  # EKS Pod Identity
    await issue(identity())
    assume, ask = aws.asked
    assert assume.operation == "AssumeRole"
    assert assume.form["ExternalId"] == "pullgate/my-app"
    assert actions_of(assume) == PULL
    assert "ASIAPOD" in assume.authorization
    assert "ASIAASSUMED" in ask.authorization


async def test_an_instance_profile_is_an_identity(aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws.url)
    await issue(identity(role=None))
    assert "ASIAINSTANCE" in aws.asked[0].authorization


# --- what does not

REFUSED = [
    ("GetAuthorizationToken", "UnrecognizedClientException", "The security token is invalid.", "KeysRejected"),
    ("GetAuthorizationToken", "InvalidSignatureException", "The signature does not match.", "KeysRejected"),
    ("GetAuthorizationToken", "InvalidSignatureException", "Signature expired: 20261124T", "ClockWrong"),
    ("GetAuthorizationToken", "ExpiredTokenException", "The security token has expired", "KeysRejected"),
    ("GetAuthorizationToken", "AccessDeniedException", "User: arn is not authorized", "PermissionMissing"),
    ("GetAuthorizationToken", "ThrottlingException", "Rate exceeded", "ExchangeLimited"),
    ("GetAuthorizationToken", "ServerException", "broken", "ExchangeError"),
]


@pytest.mark.parametrize(("operation", "code", "message", "reason"), REFUSED)
async def test_a_refusal_of_keys_is_named(
    aws: ScriptedAws, operation: str, code: str, message: str, reason: str
) -> None:
    aws.refuse[operation] = (400, code, message + CANARY)
    error = await failure(keys())
    assert error.reason == reason
    assert code in error.message
    assert error.fix


@pytest.mark.parametrize(
    ("code", "reason", "fix"),
    [
        ("InvalidIdentityToken", "IdentityRejected", "OIDC provider"),
        ("AccessDenied", "IdentityRejected", "trust policy"),
        ("ExpiredTokenException", "ClockWrong", "clock"),
    ],
)
async def test_a_role_that_does_not_trust_the_service_account_is_named(
    aws: ScriptedAws, code: str, reason: str, fix: str
) -> None:
    aws.refuse["AssumeRoleWithWebIdentity"] = (403, code, CANARY)
    error = await failure(identity(account="ecr-puller"))
    assert (error.reason, fix in error.fix) == (reason, True)
    assert ROLE in error.message or reason == "ClockWrong"


async def test_a_role_that_does_not_trust_the_operator_is_named(
    aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{aws.url}/pod")
    aws.refuse["AssumeRole"] = (403, "AccessDenied", CANARY)
    error = await failure(identity())
    assert error.reason == "IdentityRejected"
    assert "external id" in error.fix


async def test_no_identity_at_all_is_named(aws: ScriptedAws) -> None:
    error = await failure(identity(role=None))
    assert error.reason == "IdentityMissing"
    assert "serviceAccountName" in error.fix


async def test_a_missing_permission_names_the_guide_of_its_type(aws: ScriptedAws) -> None:
    aws.refuse["GetAuthorizationToken"] = (400, "AccessDeniedException", CANARY)
    assert "guide ECR: ecr:GetAuthorizationToken on *" in (await failure(keys())).fix
    public = await failure(keys("public.ecr.aws", "ECRPublic"))
    assert "guide ECRPublic: ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken" in public.fix


async def test_an_aws_that_is_away_is_named(aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert (await failure(keys())).reason == "ExchangeUnreachable"


def test_without_the_library_the_extra_is_named() -> None:
    script = """
import asyncio, sys
for name in ("botocore", "botocore.session"):
    sys.modules[name] = None
from pullgate.providers.exchange import ExchangeFailed
from pullgate.providers.resolve import resolve_credentials
found = resolve_credentials("ECR", "Opaque", {"accessKeyID": b"A", "secretAccessKey": b"S"}, "HOST")
try:
    asyncio.run(found.issue(None))
except ExchangeFailed as error:
    print(error.reason, error)
""".replace("HOST", HOST)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ExtraMissing the library botocore is not installed; install pullgate[aws]")
