"""The search for secrets finds them in each form and each place in which they could stand, and repeats none."""

from __future__ import annotations

import ast
import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from prometheus_client import Counter

from pullgate.licensing.keys import new_key
from tests.fuzz.parsers.keys import ED25519_PEM
from tests.support.canaries import (
    CHUNK,
    FOUND,
    NoCanary,
    canary,
    find_secret,
    look,
    require_none,
    search_product_files,
    search_tree,
)
from tests.support.cli import pullgate
from tests.support.clients.command import run
from tests.support.cluster.process import Program
from tests.support.folder import secret_text
from tests.support.gate import Answer, basic, look_at_answer, running, secret
from tests.support.upstreams import ScriptedRegistry
from tests.support.upstreams.docker_registry import PASSWORD
from tests.support.upstreams.token_server import TokenServer

ROOT = Path(__file__).parents[2]
JWT = TokenServer().issue(("repository:a:pull",))
SECRETS = (PASSWORD, 'CANARY-a/b+c "d"', new_key(), JWT, ED25519_PEM, basic("customer", new_key()))
FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "URL": lambda text: quote(text, safe=""),
    "JSON": json.dumps,
    "repr": repr,
}
ENCODED: dict[str, Callable[[bytes], bytes]] = {
    "base64": base64.b64encode,
    "base64, URL": base64.urlsafe_b64encode,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", SECRETS[:4], ids=range(4))
def test_a_secret_is_found_in_every_form(secret: str, form: str) -> None:
    assert find_secret(f"sent {FORMS[form](secret)} to quay.io")


@pytest.mark.parametrize("form", ENCODED)
@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
@pytest.mark.parametrize("secret", [PASSWORD, new_key(), ED25519_PEM], ids=["password", "license key", "PEM"])
def test_a_secret_inside_of_base64_is_found_wherever_it_begins(secret: str, before: str, form: str) -> None:
    assert find_secret(f"sent {ENCODED[form](f'{before}{secret}!'.encode()).decode()} to quay.io")


@pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
def test_what_is_told_of_a_secret_does_not_hold_it(secret: str) -> None:
    look("here", f"x {secret} y")
    with pytest.raises(AssertionError) as caught:
        require_none("this test")
    assert find_secret(str(caught.value)) is None
    assert "here" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "license acme used key k7f3 at quay.io; Basic auth was refused",
        "the id AKIACANARYID of an access key",
        'Bearer realm="https://quay.io/v2/auth",service="quay.io"',
        "sha256:" + "0a" * 32,
        "-----BEGIN PUBLIC KEY-----",
    ],
)
def test_what_is_no_secret_is_not_found(text: str) -> None:
    assert find_secret(text) is None


def test_a_credential_that_is_no_canary_is_taken_by_nothing_that_tests_make_secrets_with() -> None:
    makers: list[Callable[[], object]] = [
        lambda: secret("vendor", "user", "hunter2"),
        lambda: secret_text("user", "hunter2"),
        lambda: TokenServer(password="hunter2"),
        lambda: canary("hunter2"),
    ]
    for make in makers:
        with pytest.raises(NoCanary):
            make()


FIELDS = {"password", "token", "clientSecret", "secretAccessKey", "sessionToken", "serviceAccountKey", "privateKey"}
PURE = ("tests/unit", "tests/fuzz/parsers")
APART = {"guide_pages.py", "test_support_registries.py"}
"""Exempt: placeholders in the documentation, and credentials for the doubles only."""


def written(node: ast.AST) -> Iterator[object]:
    """The values that a test's source gives as credentials."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id == "Credentials":
            yield from node.args[1:2]
        yield from (each.value for each in node.keywords if each.arg in FIELDS | {"stdin"})
    elif isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        yield from (value for key, value in pairs if isinstance(key, ast.Constant) and key.value in FIELDS)


def test_every_credential_that_a_test_writes_is_a_canary() -> None:
    """But in tests of pure code, which shows nothing to anybody."""
    others = []
    for path in (ROOT / "tests").rglob("*.py"):
        if path.name in APART or any(path.is_relative_to(ROOT / pure) for pure in PURE):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            for value in written(node):
                text = value.value if isinstance(value, ast.Constant) else ""
                text = text.decode("latin-1") if isinstance(text, bytes) else text
                if isinstance(text, str) and text and find_secret(text) is None:
                    others.append(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}")
    assert others == []


def found_at(place: str) -> bool:
    """True if a canary was found at `place`. Clears FOUND, so that this test does not fail."""
    found, FOUND[:] = [str(each) for each in FOUND], []
    return any(place in each for each in found)


def test_it_is_found_in_files_across_the_parts_in_which_they_are_read_and_in_their_names(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "blob").write_bytes(b"x" * (CHUNK - 4) + PASSWORD.encode() + b"x" * 10)
    (tmp_path / "cache" / f"name-{PASSWORD}").write_bytes(b"")
    (tmp_path / "cache" / "good").write_bytes(b"x" * 100)
    assert {Path(found.place.removeprefix("file ")).name for found in search_tree(tmp_path)} == {
        "blob",
        f"name-{PASSWORD}",
    }


@pytest.mark.parametrize("planted", ["events.jsonl", "status/my-app/license.acme.yaml", "core", "cache/sha256/0a"])
async def test_it_is_found_in_each_file_that_the_product_keeps_but_its_secrets(tmp_path: Path, planted: str) -> None:
    async with ScriptedRegistry("basic"), running(tmp_path) as gate:
        path = gate.directory / ".pullgate" / planted
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"x {PASSWORD} y")
        assert not FOUND
    assert found_at(planted)
    path.unlink()


@pytest.mark.parametrize("planted", ["blobs/sha256/0a/0a" + "b" * 62, "incoming/sha512-" + "0a" * 64])
def test_it_is_found_in_the_blobs_of_a_cache_and_not_in_those_of_the_registry_that_they_came_from(
    tmp_path: Path, planted: str
) -> None:
    for place in (planted, "blobs/sha256/0a/0a" + "c" * 62 + "/data"):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"x {PASSWORD} y")
    assert [found.place for found in search_product_files(tmp_path)] == [f"file {tmp_path / planted}"]
    (tmp_path / planted).unlink()


async def test_it_is_found_in_the_access_log_and_in_the_metrics(tmp_path: Path) -> None:
    async with running(tmp_path) as gate:
        gate.log.write(f"x {PASSWORD} y")
        Counter("planted", "For this test", ["by"], registry=gate.proxy.metrics.registry).labels(PASSWORD).inc()
    places = [str(found) for found in FOUND]
    assert found_at("access log")
    assert any("/metrics" in place for place in places)


@pytest.mark.parametrize("part", ["reason", "header", "body"])
def test_it_is_found_in_each_part_of_an_answer(part: str) -> None:
    planted = {name: f"x {PASSWORD} y" if name == part else "" for name in ("reason", "header", "body")}
    look_at_answer("GET", "/v2/", Answer(403, planted["reason"], {"X-A": planted["header"]}, planted["body"].encode()))
    assert found_at("answer 403 to GET /v2/")


def test_a_tokens_answer_may_hold_a_token_and_nothing_else_may() -> None:
    look_at_answer("GET", "/token?scope=a", Answer(200, "OK", {}, JWT.encode()))
    assert not FOUND
    look_at_answer("GET", "/v2/a/tags/list", Answer(200, "OK", {}, JWT.encode()))
    assert found_at("body: a token")


def test_it_is_found_in_the_output_of_a_program_of_ours(tmp_path: Path) -> None:
    program = Program([sys.executable, "-c", f"print('{PASSWORD}')", "pullgate_cli"], tmp_path / "out")
    program.start()
    assert program.wait() == 0
    program.stop()
    assert found_at("output of")


async def test_it_is_found_in_the_output_of_commands(tmp_path: Path) -> None:
    await run([sys.executable, "-c", f"print('{PASSWORD}')"])
    assert found_at("output of")
    manifest = tmp_path / "pods.yaml"
    manifest.write_text(f"quay.io/my-org/{PASSWORD}\n")
    await pullgate("image", "list", manifest)
    assert found_at("output of")
    await run([sys.executable, "-c", f"print('{PASSWORD}')"], shows_secrets=True)
    assert not FOUND


_PLANTED = """
import logging
from tests.support.canaries import MARK

def test_log():
    logging.getLogger("product").warning("x %s-planted", MARK)

def test_print():
    print(f"x {MARK}-planted")

def test_left(tmp_path):
    (tmp_path / ".pullgate").mkdir()
    (tmp_path / ".pullgate" / "events.jsonl").write_text(f"x {MARK}-planted")
"""


def test_a_test_that_logs_or_prints_or_leaves_a_secret_fails(tmp_path: Path) -> None:
    (tmp_path / "test_planted.py").write_text(_PLANTED)
    options = [
        "-p",
        "tests.support.canary_plugin",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        "-c",
        "/dev/null",
    ]
    command = [sys.executable, "-m", "pytest", *options, "--basetemp", str(tmp_path / "inner"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    shutil.rmtree(tmp_path / "inner")
    assert "3 passed, 3 errors" in done.stdout
    told = [line for line in done.stdout.splitlines() if line.startswith("E ") and "secrets after" in line]
    for place in ("log of product: a credential", "Captured stdout call: a credential", ".pullgate/events.jsonl: a cr"):
        assert any(place in line for line in told), done.stdout
    assert not [line for line in told if find_secret(line)]
