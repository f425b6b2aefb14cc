"""`registry test`: step by step to a registry, and at the first fault its name, whose move it is, and the fix."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import yaml

from tests.support.catalog import WORKER, seed
from tests.support.cli import Ran, pullgate
from tests.support.gate import APP, Gate, registry, running
from tests.support.ports import free_port
from tests.support.tls import Authority
from tests.support.upstreams import DockerRegistry, ScriptedRegistry, faults

IMAGE = f"{WORKER}:1.0.0"


async def examine(host: str, password: str = "", *more: str | Path, username: str = "puller") -> Ran:
    login = ["--username", username, "--password-stdin"] if password else []
    options = ["--type", "Generic", "--host", host, *login]
    return await pullgate("registry", "test", *options, *more, stdin=password)


@pytest.mark.parametrize("auth", ["basic", "token"])
async def test_every_step_of_a_good_registry_passes(request: pytest.FixtureRequest, auth: str) -> None:
    upstream: DockerRegistry = request.getfixturevalue(f"docker_registry_{auth}")
    ran = await examine(
        upstream.host, upstream.password, "--plain-http", "--image", IMAGE, "-o", "json", username=upstream.username
    )
    assert ran.code == 0, ran.output
    assert [step["step"] for step in ran.data["steps"]] == ["name", "connection", "ping", "login", "image"]
    assert all(step["passed"] for step in ran.data["steps"])
    assert upstream.password not in ran.output


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedRegistry]:
    async with ScriptedRegistry("basic") as upstream:
        await seed(upstream)
        yield upstream


Break = Callable[[ScriptedRegistry], object]


@pytest.mark.parametrize(
    ("reason", "step", "break_"),
    [
        ("UpstreamUnauthorized", "login", lambda u: setattr(u.login, "password", "CANARY-another")),
        ("UpstreamForbidden", "image", lambda u: u.on("GET", "/manifests/", faults.refuse(403, "DENIED"))),
        ("ManifestUnknown", "image", lambda u: u.on("GET", "/manifests/", faults.refuse(404, "MANIFEST_UNKNOWN"))),
        ("UpstreamRateLimited", "image", lambda u: u.on("GET", "/manifests/", faults.rate_limited("7"))),
        ("UpstreamError", "ping", lambda u: u.on("GET", "/v2/", faults.answer(500))),
        ("UpstreamProtocol", "ping", lambda u: u.on("GET", "/v2/", faults.answer(404))),
        ("UpstreamProtocol", "ping", lambda u: u.on("GET", "/v2/", faults.raw(b"SSH-2.0-OpenSSH_9\r\n"))),
        ("RealmRefused", "login", lambda u: u.on("GET", "/v2/", faults.challenge('Bearer realm="https://evil.test/"'))),
        ("DigestMismatch", "image", lambda u: u.on("GET", "/manifests/", faults.corrupt(5), after_login=True)),
    ],
)
async def test_a_fault_is_named_with_whose_move_it_is(
    upstream: ScriptedRegistry, reason: str, step: str, break_: Break
) -> None:
    password = upstream.password
    break_(upstream)
    arguments = ("--plain-http", "--image", IMAGE)
    ran = await examine(upstream.host, password, *arguments, "-o", "json", username=upstream.username)
    assert ran.code == 1, ran.output
    last = ran.data["steps"][-1]
    assert (last["step"], last["reason"]) == (step, reason)
    assert last["hint"]
    assert last["actors"]
    text = await examine(upstream.host, password, *arguments, username=upstream.username)
    assert f"✗ {step}" in text.output
    assert f"{reason}; the move is the " in text.output
    assert password not in ran.output + text.output


async def test_a_login_that_nothing_proves_is_neither_passed_nor_failed() -> None:
    async with ScriptedRegistry() as upstream:
        await seed(upstream)
        arguments = ("--plain-http", "--image", IMAGE)
        ran = await examine(upstream.host, "CANARY-any", *arguments, "-o", "json")
        text = await examine(upstream.host, "CANARY-any", *arguments)
    assert (ran.code, text.code, ran.data["passed"]) == (2, 2, False)
    login, image = ran.data["steps"][-2:]
    assert (login["passed"], login["reason"], image["passed"]) == (False, "NotProven", True)
    assert f"not proven: strangers may read {WORKER}" in login["text"]
    assert "? login" in text.output
    assert "name a private image: --image REPOSITORY" in text.output


async def test_a_refused_credential_of_the_wrong_kind_is_suspected(upstream: ScriptedRegistry) -> None:
    options = ["--type", "Quay", "--host", upstream.host, "--plain-http", "--username", "somebody", "--password-stdin"]
    ran = await pullgate("registry", "test", *options, "-o", "json", stdin="CANARY-wrong")
    assert ran.data["steps"][-1]["suspicion"] == "this is no robot account: its name reads my-org+robot"
    text = await pullgate("registry", "test", *options, stdin="CANARY-wrong")
    assert "no robot account" in text.output


@pytest.mark.parametrize(
    ("reason", "step", "host"),
    [("UpstreamUnreachable", "name", "registry.invalid"), ("UpstreamUnreachable", "connection", "127.0.0.1:PORT")],
)
async def test_a_registry_that_is_not_there_is_told_by_the_step_that_fails(reason: str, step: str, host: str) -> None:
    ran = await examine(host.replace("PORT", str(free_port())), "", "-o", "json")
    assert (ran.code, ran.data["steps"][-1]["step"], ran.data["steps"][-1]["reason"]) == (1, step, reason)


async def test_a_certificate_that_nobody_trusts_is_told_at_its_step() -> None:
    async with ScriptedRegistry(name="localhost", tls=Authority().server(("localhost",))) as upstream:
        ran = await examine(upstream.host, "", "-o", "json")
    assert [step["step"] for step in ran.data["steps"]] == ["name", "connection", "TLS"]
    assert ran.data["steps"][-1]["reason"] == "UpstreamTLS"


async def on_folder(gate: Gate, *arguments: str | Path, stdin: str = "") -> Ran:
    return await pullgate("registry", *arguments, "--folder", gate.directory, "-n", APP, stdin=stdin)


async def test_a_registry_is_added_only_when_it_works(docker_registry_basic: DockerRegistry, tmp_path: Path) -> None:
    upstream = docker_registry_basic
    about = ["--type", "Generic", "--host", upstream.host, "--plain-http", "--username", upstream.username]
    async with running(tmp_path / "resources") as gate:
        wrong = await on_folder(gate, "add", "up", *about, "--password-stdin", stdin="CANARY-wrong")
        assert (wrong.code, "nothing was added" in wrong.output) == (1, True)
        assert not list(gate.directory.glob("*.yaml"))
        dry = await on_folder(gate, "add", "up", *about, "--password-stdin", "--dry-run", stdin=upstream.password)
        assert upstream.password not in dry.output
        added = await on_folder(gate, "add", "up", *about, "--password-stdin", stdin=upstream.password)
        assert added.code == 0, added.output
        assert upstream.password not in added.output
        tested = await on_folder(gate, "test", "up", "--image", IMAGE)
        assert tested.code == 0, tested.output

        def is_ready() -> bool:
            path = gate.directory / ".pullgate" / "status" / APP / "registry.up.yaml"
            rows = yaml.safe_load(path.read_text())["status"]["conditions"] if path.exists() else []
            return any(row["type"] == "Ready" and row["status"] == "True" for row in rows)

        await gate.until(is_ready)
        table = await on_folder(gate, "list")
        assert table.output.splitlines()[1].split()[:4] == ["up", "yes", "Ready", "Generic"]


async def test_what_a_dry_run_prints_holds_no_token_also_where_it_is_the_user() -> None:
    token = "dop_v1_SECRET"
    about = ["--type", "DigitalOcean", "--username", token, "--password-stdin", "--no-test", "--dry-run"]
    dry = await pullgate("registry", "add", "up", *about, stdin=token)
    assert dry.code == 0, dry.output
    assert "PUT-THE-TOKEN-HERE" in dry.output
    assert token not in dry.output


async def test_a_registry_without_its_secret_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    async with running(tmp_path / "resources") as gate:
        (gate.directory / "up.yaml").write_text(yaml.safe_dump(registry("up", "registry.invalid", secret="robot")))
        ran = await on_folder(gate, "test", "up", "-o", "json")
    assert (ran.code, ran.data["steps"][0]["reason"]) == (1, "CredentialsMissing")
    assert "there is no Secret robot" in ran.data["steps"][0]["text"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a Registry, or describe one"),
        (["--host", "quay.io"], "say --type, too"),
        (["--type", "Quay", "--username", "x"], "--password-stdin together"),
        (["--type", "ECR"], "type ECR needs a host"),
        (["--type", "Quay", "--image", "A B"], "no space"),
    ],
)
async def test_a_mistake_is_a_usage_error(arguments: list[str], words: str) -> None:
    ran = await pullgate("registry", "test", *arguments)
    assert ran.code == 2, ran.output
    assert words in " ".join(ran.output.split())


async def test_a_guide_is_filled_in_for_whoever_asks() -> None:
    table = await pullgate("registry", "guide")
    assert table.code == 0
    assert "DockerHub" in table.output
    filled = await pullgate("registry", "guide", "ecr", "--name", "prod", "-n", "shop", "--set", "region=eu-west-1")
    assert "pullgate registry test prod -n shop" in filled.output
    assert "arn:aws:ecr:eu-west-1:ACCOUNT:repository/*" in filled.output
    document = await pullgate("registry", "guide", "Quay", "-o", "yaml", "--repository", "my-org/**")
    assert [part["kind"] for part in yaml.safe_load_all(document.output)] == ["Secret", "Registry"]
    identity = await pullgate("registry", "guide", "ECR", "--identity", "-o", "yaml", "--name", "prod", "-n", "shop")
    kinds = [part["kind"] for part in yaml.safe_load_all(identity.output)]
    assert kinds == ["ServiceAccount", "Role", "RoleBinding", "Registry"]
    assert "serviceAccountName: prod-puller" in identity.output
    assert "Without a stored key: workload identity" in filled.output
    none = await pullgate("registry", "guide", "Quay", "--identity", "-o", "yaml")
    assert (none.code, "type Quay knows no workload identity" in none.output) == (2, True)
    typo = await pullgate("registry", "guide", "Quey")
    assert (typo.code, "did you mean Quay?" in typo.output) == (2, True)
