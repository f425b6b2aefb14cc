"""`registry test` says, for each type, that a refused credential is of the wrong kind, and of which."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.providers.stage import opaque, registry_of
from tests.support.cli import pullgate
from tests.support.fakes.flavours import FLAVOURS
from tests.support.fakes.front import Front
from tests.support.gate import APP
from tests.support.proven import prove

pytestmark = pytest.mark.asyncio

KEY = json.dumps({"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nCANARY\n"})
CUT = KEY.partition("\\n")[0]
"""As a shell or a YAML block leaves it."""
AWS_SECRET = "CANARY/CANARY+CANARYCANARYCANARYCANARY12"
GUID = "00000000-1111-2222-3333-444444444444"

WRONG = [
    ("an AWS secret as the password", "ECR", "AWS", AWS_SECRET, "this is an AWS access key"),
    ("an AWS key as user and password", "ECR", "AKIAIOSFODNN7EXAMPLE", AWS_SECRET, "keys accessKeyID and"),
    ("an AWS secret as the password", "ECRPublic", "AWS", AWS_SECRET, "this is an AWS access key"),
    ("a JSON key cut at a newline", "GAR", "_json_key", CUT, "cut, at a line break perhaps"),
    ("a JSON key cut at a newline", "GCR", "_json_key", CUT, "cut, at a line break perhaps"),
    ("a JSON key of another user", "GAR", "my-bot", KEY, "the user name of a JSON key is _json_key"),
    ("a password where SSO requires a token", "DockerHub", "my-bot", "CANARY-horse", "SSO or two factors"),
    ("a mail address as the user", "DockerHub", "me@example.com", "dckr_pat_CANARY", "wants the account name"),
    ("a fine-grained token", "GHCR", "my-bot", "github_pat_CANARY", "use a classic one"),
    ("the password of an account", "GHCR", "my-bot", "CANARY-horse", "this is no GitHub token"),
    ("a person instead of a robot", "Quay", "somebody", "CANARY-horse", "this is no robot account"),
    ("an OAuth token of the API", "Quay", "$oauthtoken", "CANARY", "an OAuth token, which a person granted"),
    ("the id of a secret", "ACR", GUID, GUID, "that is its id; use its value"),
    ("an application's secret of another user", "ACR", "pullgate", "SEC8Q~" + "CANARY" * 5 + "abcd", "the client id"),
    ("a registry's password of an application", "ACR", GUID, "CANARY" * 7 + "+ACRAabcde", "the name of the token"),
    # The front's host is 127.0.0.1, so its admin would be this one.
    ("the admin user", "ACR", "127", "CANARY", "the admin user of the registry"),
    ("a robot without its dollar", "Harbor", "robotpuller", "CANARY", "single quotes"),
    ("a person instead of a robot", "Harbor", "admin", "CANARY", "the account of a person"),
    ("a token of a runner", "GitLab", "x", "glrt-CANARY", "this is a token of a runner"),
    ("a token of a CI job", "GitLab", "gitlab-ci-token", "glcbt-CANARY", "ends with it"),
    ("a personal access token", "GitLab", "me", "glpat-CANARY", "needs the scope read_registry"),
    ("an API key", "Artifactory", "puller", "AKCp" + "CANARY" * 11 + "abc", "JFrog deprecated"),
    ("a reference token that was cut", "Artifactory", "puller", "cmVmdGtuOjCANARY", "64 characters"),
    ("the password of an account", "Artifactory", "me@example.com", "CANARY-horse", "use an access token"),
    ("a NuGet API key", "Nexus", "puller", GUID, "NuGet API key"),
    ("half of a user token", "Nexus", "CANARY", "CANARY", "name code is the user"),
    ("the token as the password alone", "DigitalOcean", "my-bot", "dop_v1_CANARY", "user name and password both"),
    ("a token of another provider", "Harbor", "my-bot", "ghp_CANARY", "a token of GitHub, and the Registry is of type"),
    ("a placeholder", "Generic", "puller", "${CANARY_TOKEN}", "a placeholder that nobody filled in"),
    ("an AWS key", "Generic", "AKIAIOSFODNN7EXAMPLE", "CANARY", "type ECR takes it"),
]


@pytest.mark.parametrize(
    ("what", "type_", "user", "password", "words"), WRONG, ids=[f"{row[1]}-{row[0]}" for row in WRONG]
)
async def test_registry_test_says_what_a_refused_credential_is(
    what: str, type_: str, user: str, password: str, words: str, held: str
) -> None:
    async with Front(FLAVOURS[type_], held) as front:
        about = ["--type", type_, "--host", front.host, "--plain-http", "--username", user, "--password-stdin"]
        ran = await pullgate("registry", "test", *about, stdin=password)
    printed = " ".join(ran.output.split())
    assert ran.code == 1
    assert "UpstreamUnauthorized" in printed or "RealmRefused" in printed
    assert words in printed, f"{what}: {printed}"
    assert password not in ran.output
    prove(type_, "wrong kind")


async def test_a_key_that_was_cut_in_its_secret_is_told_for_a_registry_of_a_folder(held: str, tmp_path: Path) -> None:
    async with Front(FLAVOURS["GAR"], held) as front:
        documents = (opaque("vendor", {"serviceAccountKey": CUT}), registry_of("GAR", front))
        (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(documents))
        ran = await pullgate("registry", "test", "up", "--folder", tmp_path, "-n", APP)
    assert "the JSON key was cut, at a line break perhaps: put the whole file" in " ".join(ran.output.split())
    assert "BEGIN PRIVATE KEY" not in ran.output


async def test_a_right_credential_is_not_suspected_and_a_token_as_the_user_is_not_printed(held: str) -> None:
    async with Front(FLAVOURS["DigitalOcean"], held) as front:
        front.accept("dop_v1_CANARY", "dop_v1_CANARY")
        about = ["--type", "DigitalOcean", "--host", front.host, "--plain-http", "--username", "dop_v1_CANARY"]
        ran = await pullgate("registry", "test", *about, "--password-stdin", stdin="dop_v1_CANARY")
    assert ran.code == 0, ran.output
    assert "the token is let in" in ran.output
    assert "CANARY" not in ran.output
