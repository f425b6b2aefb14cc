"""A credential of the wrong kind is told from its form, and none of it is repeated."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullgate.providers.credentials import Credentials
from pullgate.providers.suspicion import suspect
from pullgate.resources.registry_type import REGISTRY_TYPES

KEY = json.dumps({"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nabc\n"})
SECRET_40 = "aB3" * 13 + "x"

WRONG = [
    ("ECR", "AKIAIOSFODNN7EXAMPLE", SECRET_40, "AWS access key"),
    ("ECR", "AWS", SECRET_40, "AWS access key"),
    ("ECR", "aws", "eyJ" + "x" * 500, "always AWS"),
    ("GAR", "_json_key", KEY.partition("\\n")[0], "cut"),
    ("GAR", "someone", KEY, "_json_key"),
    ("GCR", "_json_key", "not a key", "no JSON key"),
    ("GAR", "_json_key", '{"type": "authorized_user"}', "no key of a service account"),
    ("GAR", "oauth2accesstoken", "ya29.abc", "after an hour"),
    ("DockerHub", "my-bot", "correct horse battery", "access token"),
    ("DockerHub", "me@example.com", "dckr_pat_x", "account name"),
    ("GHCR", "my-bot", "github_pat_11ABC", "fine-grained"),
    ("GHCR", "my-bot", "correct horse battery", "no GitHub token"),
    ("Quay", "somebody", "x", "robot account"),
    ("ACR", "sp", "00000000-1111-2222-3333-444444444444", "its id"),
    ("ACR", "sp", "eyJhbGciOi", "three hours"),
    ("Harbor", "robotpuller", "x", "dollar"),
    ("GitLab", "x", "glrt-abc", "runner"),
    ("DigitalOcean", "x", "dop_v1_abc", "both"),
    ("Generic", "x", "${TOKEN}", "placeholder"),
    ("Generic", "<user>", "x", "placeholder"),
    ("Generic", "x", "secret\n", "line break"),
    ("Generic", "x", base64.b64encode(b"ghp_abc").decode(), "encoded once"),
]
RIGHT = [
    ("ECR", "AWS", "eyJ" + "x" * 500),
    ("GAR", "_json_key", KEY),
    ("DockerHub", "my-bot", "dckr_pat_abc"),
    ("GHCR", "my-bot", "ghp_abc"),
    ("Quay", "my-org+puller", "ABC"),
    ("ACR", "00000000-1111-2222-3333-444444444444", "abc~def"),
    ("Harbor", "robot$my-org+puller", "abc"),
    ("GitLab", "gitlab+deploy-token-1", "gldt-abc"),
    ("DigitalOcean", "dop_v1_abc", "dop_v1_abc"),
    ("Generic", "anybody", "anything"),
]


@pytest.mark.parametrize(("type_", "user", "password", "words"), WRONG)
def test_a_credential_of_the_wrong_kind_is_told(type_: str, user: str, password: str, words: str) -> None:
    assert words in (suspect(type_, Credentials(user, password)) or "")


@pytest.mark.parametrize(("type_", "user", "password"), RIGHT)
def test_a_right_one_is_not_suspected(type_: str, user: str, password: str) -> None:
    assert suspect(type_, Credentials(user, password)) is None


@given(st.sampled_from(sorted(REGISTRY_TYPES)), st.text(min_size=1), st.text(min_size=12))
def test_no_suspicion_repeats_a_credential(type_: str, user: str, password: str) -> None:
    found = suspect(type_, Credentials(user, password)) or ""
    assert password not in found
