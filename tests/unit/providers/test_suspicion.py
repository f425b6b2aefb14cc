"""A credential of the wrong kind is recognized by its form, and no message repeats any of it."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.providers.credentials import TOKENS, Credentials
from pullgate.providers.suspicion import suspect
from pullgate.providers.types import PROVIDERS
from pullgate.resources.registry_type import REGISTRY_TYPES

KEY = json.dumps({"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nabc\n"})
HOST = "myregistry.azurecr.io"
SECRET_40 = "aB3" * 13 + "x"

AZURE_SECRET = "abc8Q~" + "x" * 34
REGISTRY_PASSWORD = "x" * 42 + "+ACRA" + "yyyyy"
GUID = "00000000-1111-2222-3333-444444444444"

WRONG = [
    ("ECR", "AKIAIOSFODNN7EXAMPLE", SECRET_40, "AWS access key"),
    ("ECR", "AWS", SECRET_40, "AWS access key"),
    ("ECR", "aws", "eyJ" + "x" * 500, "always AWS"),
    ("ECRPublic", "AWS", SECRET_40, "AWS access key"),
    ("GAR", "_json_key", KEY.partition("\\n")[0], "cut"),
    ("GAR", "someone", KEY, "_json_key"),
    ("GCR", "_json_key", "not a key", "no JSON key"),
    ("GAR", "_json_key", '{"type": "authorized_user"}', "no key of a service account"),
    ("GAR", "_json_key", base64.b64encode(KEY.encode()).decode(), "base64 of a JSON key"),
    ("GAR", "_json_key_base64", base64.b64encode(KEY.encode()).decode()[:40], "base64 of a whole JSON key"),
    ("GAR", "_json_key", "ya29.abc", "of the user oauth2accesstoken"),
    ("GAR", "oauth2accesstoken", "ya29.abc", "after an hour"),
    ("DockerHub", "my-bot", "correct horse battery", "access token"),
    ("DockerHub", "my-bot", "correct horse battery", "SSO"),
    ("DockerHub", "me@example.com", "dckr_pat_x", "account name"),
    ("GHCR", "my-bot", "github_pat_11ABC", "fine-grained"),
    ("GHCR", "my-bot", "ghs_abc", "ends within hours"),
    ("GHCR", "my-bot", "-----BEGIN RSA PRIVATE KEY-----", "appID, installationID and privateKey"),
    ("GHCR", "my-bot", "correct horse battery", "no GitHub token"),
    ("Quay", "somebody", "x", "robot account"),
    ("Quay", "$oauthtoken", "x", "OAuth token"),
    ("Quay", "$app", "x", "application token"),
    ("Quay", "my-org+puller", "aB3d" * 10, "OAuth token of the API"),
    ("ACR", "sp", GUID, "its id"),
    ("ACR", "sp", "eyJhbGciOi", "three hours"),
    ("ACR", "pullgate", AZURE_SECRET, "client id"),
    ("ACR", GUID, REGISTRY_PASSWORD, "name of the token"),
    ("ACR", "myregistry", "x", "admin user"),
    ("Harbor", "robotpuller", "x", "dollar"),
    ("Harbor", "admin", "x", "account of a person"),
    ("GitLab", "x", "glrt-abc", "runner"),
    ("GitLab", "x", "glcbt-64_abc", "CI job"),
    ("GitLab", "gitlab-ci-token", "abc", "CI job"),
    ("GitLab", "me", "glpat-abc", "read_registry"),
    ("Artifactory", "puller", "AKCp" + "x" * 69, "API key"),
    ("Artifactory", "puller", "AP6" + "x" * 30, "encrypted password"),
    ("Artifactory", "puller", "cmVmdGtuOj" + "x" * 20, "cut"),
    ("Artifactory", "puller", "eyJ2ZXIiOiIyIn0.eyJzdWIiOiJ4In0", "cut"),
    ("Artifactory", "me@example.com", "correct horse battery", "password of an account"),
    ("Nexus", "puller", GUID, "NuGet"),
    ("Nexus", "puller", f"NpmToken.{GUID}", "npm"),
    ("Nexus", "pass-code", "pass-code", "name code"),
    ("DigitalOcean", "x", "dop_v1_abc", "both"),
    ("DigitalOcean", "doo_v1_abc", "doo_v1_abc", "OAuth"),
    ("Generic", "AKIAIOSFODNN7EXAMPLE", "x", "type ECR"),
    ("Generic", "_json_key", KEY, "type GAR"),
    ("Generic", "x", "${TOKEN}", "placeholder"),
    ("Generic", "<user>", "x", "placeholder"),
    ("Generic", "x", "secret\n", "line break"),
    ("Generic", "x", base64.b64encode(b"ghp_abc").decode(), "encoded once"),
    ("DockerHub", "x", base64.b64encode(b"dckr_pat_abc").decode(), "encoded once"),
]
RIGHT = [
    ("ECR", "AWS", "eyJ" + "x" * 500),
    ("GAR", "_json_key", KEY),
    ("GAR", "_json_key_base64", base64.b64encode(KEY.encode()).decode()),
    ("DockerHub", "my-bot", "dckr_pat_abc"),
    ("DockerHub", "my-org", "dckr_oat_abc"),
    ("GHCR", "my-bot", "ghp_abc"),
    ("Quay", "my-org+puller", "ABC"),
    ("Quay", "my-org+puller", "A1" * 32),
    ("ACR", GUID, AZURE_SECRET),
    ("ACR", "pullgate", REGISTRY_PASSWORD),
    ("Harbor", "robot$my-org+puller", "abc"),
    ("Harbor", "bot_my-org+puller", "abc"),
    ("GitLab", "gitlab+deploy-token-1", "gldt-abc"),
    ("GitLab", "our-name", "of-an-instance-with-its-own-prefix"),
    ("Artifactory", "puller", "cmVmd" + "x" * 59),
    ("Artifactory", "puller", "eyJ2ZXIiOiIyIn0.eyJzdWIiOiJ4In0.abc"),
    ("Nexus", "xY3kQ9aZ", "b" * 44),
    ("Nexus", "puller", "any password"),
    ("DigitalOcean", "dop_v1_abc", "dop_v1_abc"),
    ("Generic", "anybody", "anything"),
    ("Generic", "anybody", "ghp_abc"),
]


@pytest.mark.parametrize(("type_", "user", "password", "words"), WRONG)
def test_a_credential_of_the_wrong_kind_is_told(type_: str, user: str, password: str, words: str) -> None:
    assert words in (suspect(type_, Credentials(user, password), HOST) or "")


@pytest.mark.parametrize(("type_", "user", "password"), RIGHT)
def test_a_right_one_is_not_suspected(type_: str, user: str, password: str) -> None:
    assert suspect(type_, Credentials(user, password), HOST) is None


@pytest.mark.parametrize("prefix", TOKENS)
@pytest.mark.parametrize("type_", REGISTRY_TYPES)
def test_a_token_of_another_provider_is_told_by_its_beginning(type_: str, prefix: str) -> None:
    own, whose = TOKENS[prefix]
    found = suspect(type_, Credentials("user", f"{prefix}abc"), HOST) or ""
    is_told = found == f"this is a token of {whose}, and the Registry is of type {type_}"
    assert is_told == (type_ not in {own, "Generic"})


def test_a_wrong_kind_is_told_for_every_type() -> None:
    assert {row[0] for row in WRONG} == set(REGISTRY_TYPES) == {name for name, p in PROVIDERS.items() if p.suspect}


@pytest.mark.parametrize("user", ["dop_v1_abc", "ghp_abc", "same"])
def test_a_user_name_that_is_a_secret_is_not_shown(user: str) -> None:
    credentials = Credentials(user, "same")
    assert credentials.account == "the token"
    assert user not in repr(credentials)
    assert Credentials("my-org+puller", "same").account == "my-org+puller"


@given(st.sampled_from(sorted(REGISTRY_TYPES)), st.text(min_size=1), st.text(min_size=12))
def test_no_suspicion_repeats_a_credential(type_: str, user: str, password: str) -> None:
    found = suspect(type_, Credentials(user, password)) or ""
    assert password not in found
