"""A License from issue to end, on the folder that a Pullgate serves."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from pullgate.licensing.keys import key_digest, key_id, new_key
from pullgate_operator.plan.signing import read_license_key
from pullgate_operator.reconcile.signing import LICENSE_KEY
from tests.support.catalog import WORKER
from tests.support.cli import Ran, pullgate
from tests.support.folder import eventually
from tests.support.gate import APP, Gate, registry, running, secret
from tests.support.upstreams import DockerRegistry

PATH = f"/v2/proxy/{APP}/upstream/{WORKER}/manifests/1.0.0"
WRITTEN = """\
# the first customer
apiVersion: pullgate.dev/v1alpha1
kind: License
metadata: {name: first, namespace: my-app}  # by hand
spec:
  entitlements:
    - repositories: ["my-org/*"]  # all of it
"""


def in_base64(secret_file: Path, to: Path) -> Path:
    """A Secret as `kubectl get -o json` prints it."""
    document = yaml.safe_load(secret_file.read_text())
    plain = document.pop("stringData")
    document["data"] = {name: base64.b64encode(text.encode()).decode() for name, text in plain.items()}
    to.write_text(json.dumps(document))
    return to


@pytest.fixture
async def gate(docker_registry_basic: DockerRegistry, tmp_path: Path) -> AsyncIterator[Gate]:
    upstream = docker_registry_basic
    documents = [
        secret("vendor", upstream.username, upstream.password),
        registry("upstream", upstream.host, secret="vendor"),
    ]
    async with running(tmp_path / "resources", *documents) as gate:
        yield gate


async def license_(gate: Gate, *arguments: str | Path) -> Ran:
    shows = arguments[0] == "pull-secret" or "--reveal" in arguments
    return await pullgate("license", *arguments, "--folder", gate.directory, shows_secrets=shows)


async def create(gate: Gate, name: str = "acme", *more: str) -> str:
    """Issue one; returns its key as a customer gets it."""
    made = await license_(gate, "create", name, "--customer", "ACME Corp", "--repository", "my-org/*", *more)
    assert made.code == 0, made.output
    config = (await license_(gate, "pull-secret", name, "-o", "docker")).data
    return str(next(iter(config["auths"].values()))["password"])


async def test_a_license_that_was_created_pulls_until_it_is_suspended_and_again_when_resumed(gate: Gate) -> None:
    key = await create(gate)
    await gate.until_status(PATH, key, 200)
    assert (await license_(gate, "suspend", "acme", "--reason", "invoice 77 unpaid")).code == 0
    await gate.until_status(PATH, key, 403)
    assert "invoice 77 unpaid" in (await gate.get(PATH, key)).message
    assert (await license_(gate, "resume", "acme")).code == 0
    await gate.until_status(PATH, key, 200)


async def test_a_license_is_extended_without_a_new_key(gate: Gate) -> None:
    key = await create(gate, "acme", "--until", "2026-01-01")
    await gate.until_status(PATH, key, 403)
    assert (await license_(gate, "extend", "acme", "--by", "365d")).code == 0
    await gate.until_status(PATH, key, 200)
    assert (await license_(gate, "extend", "acme", "--to", "2026-02-01", "--force")).code == 0
    await gate.until_status(PATH, key, 403)
    assert (await license_(gate, "extend", "acme", "--forever")).code == 0
    await gate.until_status(PATH, key, 200)


@pytest.mark.parametrize(
    ("until", "arguments", "why"),
    [
        ("2090-01-01", ["--to", "2026-01-01"], "is past"),
        ("2090-01-01", ["--to", "2089-01-01"], "would end sooner"),
        ("", ["--by", "365d"], "has no end"),
        ("", ["--to", "2089-01-01"], "has no end"),
        ("2026-01-01", ["--by", "0s"], "is past"),
    ],
)
async def test_what_would_shorten_a_license_is_no_extension_unless_forced(
    gate: Gate, until: str, arguments: list[str], why: str
) -> None:
    await create(gate, "acme", *(["--until", until] if until else []))
    path = next(gate.directory.glob("*acme.license.yaml"))
    before = path.read_text()
    refused = await license_(gate, "extend", "acme", *arguments)
    assert (refused.code, path.read_text()) == (2, before), refused.output
    assert why in refused.output
    assert "--force" in refused.output
    assert (await license_(gate, "extend", "acme", *arguments, "--force")).code == 0
    assert path.read_text() != before


async def test_a_license_that_is_extended_beyond_all_time_ends_at_the_last_moment(gate: Gate) -> None:
    await create(gate, "acme", "--until", "2090-01-01")
    extended = await license_(gate, "extend", "acme", "--by", "999999999d")
    assert extended.code == 0, extended.output
    assert "9999-12-31" in (await license_(gate, "list")).output


async def test_a_license_that_is_created_with_an_end_in_the_past_says_so(gate: Gate) -> None:
    made = await license_(gate, "create", "late", "--repository", "a", "--until", "2026-01-01")
    assert made.code == 0, made.output
    assert "2026-01-01 is past" in made.output


async def test_a_rotated_key_and_the_one_before_work_for_the_overlap(gate: Gate) -> None:
    old = await create(gate)
    assert (await license_(gate, "rotate", "acme")).code == 0
    await gate.until(lambda: gate.key("acme") != old)
    await gate.until_status(PATH, gate.key("acme"), 200)
    assert (await gate.get(PATH, old)).status == 200
    shown = await license_(gate, "show", "acme")
    assert "current" in shown.output
    assert "replaced" in shown.output


async def test_a_key_is_printed_only_when_asked_for(gate: Gate) -> None:
    key = await create(gate)
    for arguments in (["list"], ["list", "-o", "json"], ["show", "acme"], ["show", "acme", "-o", "yaml"]):
        assert key not in (await license_(gate, *arguments)).output
    assert key in (await license_(gate, "show", "acme", "--reveal")).output
    assert (await license_(gate, "show", "acme", "--reveal", "-o", "json")).data["key"] == key


async def test_the_pull_secret_is_one_that_a_cluster_takes(gate: Gate) -> None:
    key = await create(gate)
    printed = await license_(gate, "pull-secret", "acme", "--secret-name", "vendor", "--secret-namespace", "prod")
    document = yaml.safe_load(printed.output)
    assert document["metadata"] == {"name": "vendor", "namespace": "prod"}
    assert document["type"] == "kubernetes.io/dockerconfigjson"
    assert key in document["stringData"][".dockerconfigjson"]


async def test_a_change_keeps_the_comments_of_the_file(gate: Gate) -> None:
    path = gate.directory / "first.yaml"
    path.write_text(WRITTEN)
    await gate.until((gate.directory / ".pullgate/secrets/my-app/first-license.yaml").exists)
    assert (await license_(gate, "suspend", "first", "--reason", "x")).code == 0
    text = path.read_text()
    for comment in ("# the first customer", "# by hand", "# all of it"):
        assert comment in text
    assert yaml.safe_load(text)["spec"]["suspended"] == {"reason": "x"}
    assert (await license_(gate, "resume", "first")).code == 0
    assert yaml.safe_load(path.read_text()) == yaml.safe_load(WRITTEN)


async def test_a_list_answers_who_may_pull_until_when(gate: Gate) -> None:
    await create(gate, "acme", "--until", "2090-01-01")
    table = (await license_(gate, "list")).output.splitlines()
    assert table[0].split() == ["NAME", "VALID", "REASON", "EXPIRES", "CUSTOMER", "PULLS", "LAST", "PULL"]
    assert table[1].split() == ["acme", "yes", "Valid", "2090-01-01T00:00:00Z", "ACME", "Corp"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "x"], "--repository"),
        (["create", "x", "--repository", "a/**b"], "spec.entitlements[0].repositories[0]"),
        (["create", "X_Y", "--repository", "a"], "metadata.name"),
        (["create", "x", "--repository", "a", "--until", "soon"], "write it like 2027-12-31"),
        (["create", "x", "--repository", "a", "--semver", "one"], "spec.entitlements[0].tags.semver"),
        (["extend", "x", "--by", "1y"], "write it like 365d"),
        (["extend", "x"], "--to DATE"),
        (["show", "nobody"], "there is no License nobody in "),
    ],
)
async def test_a_mistake_names_the_field_and_the_fix_and_ends_with_2(
    gate: Gate, arguments: list[str], words: str
) -> None:
    ran = await license_(gate, *arguments)
    assert ran.code == 2, ran.output
    assert words in " ".join(ran.output.split())
    assert "Traceback" not in ran.output


async def test_a_license_is_not_created_twice(gate: Gate) -> None:
    await create(gate)
    again = await license_(gate, "create", "acme", "--repository", "other")
    assert (again.code, "is there already" in again.output) == (2, True)


async def test_a_dry_run_prints_what_git_takes_and_writes_nothing(gate: Gate) -> None:
    before = sorted(gate.directory.iterdir())
    ran = await license_(gate, "create", "acme", "--repository", "my-org/*", "--tag", "1.*", "--dry-run", "-n", APP)
    assert yaml.safe_load(ran.output)["spec"]["entitlements"] == [
        {"repositories": ["my-org/*"], "tags": {"match": ["1.*"]}}
    ]
    assert sorted(gate.directory.iterdir()) == before


async def test_a_license_file_is_verified_offline(gate: Gate, tmp_path: Path) -> None:
    key = await create(gate, "acme", "--until", "2090-01-01")
    file, public = tmp_path / "license.yaml", tmp_path / "public.pem"
    file.write_text((await license_(gate, "pull-secret", "acme", "-o", "license-file")).output)
    document = await gate.store.get(LICENSE_KEY)
    assert document is not None
    public.write_text(read_license_key(document)[1])
    good = await pullgate("license", "verify", file, "--public-key", public)
    assert (good.code, key in good.output) == (0, False), good.output
    assert "2090-01-01" in good.output
    late = await pullgate("license", "verify", file, "--public-key", public, "--at", "2091-01-01", "-o", "json")
    assert (late.code, late.data["why"]) == (1, "expired 2090-01-01T00:00:00Z")
    kept = gate.directory / ".pullgate/secrets/my-app/acme-license.yaml"
    for secret_file in (kept, in_base64(kept, file.with_name("kubectl.json"))):
        of_secret = await pullgate("license", "verify", secret_file, "--public-key", public)
        assert (of_secret.code, "2090-01-01" in of_secret.output, key in of_secret.output) == (0, True, False)
    other = await pullgate("license", "verify", kept.with_name("acme-pull.yaml"), "--public-key", public)
    assert (other.code, "NAME-license does" in other.output) == (1, True), other.output
    file.write_text(file.read_text().replace("2090", "2099", 1))
    altered = await pullgate("license", "verify", file, "--public-key", public)
    assert (altered.code, "altered" in altered.output) == (1, True)
    public.write_text("no key")
    assert (await pullgate("license", "verify", file, "--public-key", public)).code == 2


async def test_without_a_place_it_says_what_to_give() -> None:
    ran = await pullgate("license", "list")
    assert ran.code == 2
    assert "--folder" in ran.output


async def test_a_leaked_key_is_found_and_revoked_and_the_next_one_works(gate: Gate) -> None:
    """The leaked one was replaced already: its overlap does not save it."""
    leaked = await create(gate, "acme", "--customer-id", "C-1")
    await create(gate, "beta")
    assert (await license_(gate, "rotate", "acme")).code == 0
    await gate.until(lambda: gate.key("acme") != leaked)
    await gate.until_status(PATH, gate.key("acme"), 200)
    found = await pullgate("license", "find", "--folder", gate.directory, stdin=f"password: {leaked}\n")
    assert found.code == 0, found.output
    id_ = key_id(key_digest(leaked))
    assert ["my-app", "acme", "ACME", "Corp", id_, "replaced"] == found.output.splitlines()[1].split()[:6]
    assert f"pullgate license revoke acme {id_} -n my-app" in found.output
    current = gate.key("acme")
    revoked = await license_(gate, "revoke", "acme", id_, "--reason", "found on a forum")
    assert revoked.code == 0, revoked.output
    assert "found on a forum" in (await gate.until_status(PATH, leaked, 403)).message
    await gate.until_status(PATH, current, 200)
    assert gate.key("acme") == current

    async def shown() -> bool:
        return f"{id_}: issued" in (shown := (await license_(gate, "show", "acme")).output) and "revoked 20" in shown

    await eventually(shown)


async def test_rotate_now_ends_every_key_that_works(gate: Gate) -> None:
    first = await create(gate)
    assert (await license_(gate, "rotate", "acme")).code == 0
    await gate.until(lambda: gate.key("acme") != first)
    second = gate.key("acme")
    await gate.until_status(PATH, second, 200)
    assert (await gate.get(PATH, first)).status == 200
    assert (await license_(gate, "rotate", "acme", "--now")).code == 0
    for key in (first, second):
        assert (await gate.until_status(PATH, key, 403)).fault == "KeyRevoked"
    await gate.until(lambda: gate.key("acme") != second)
    await gate.until_status(PATH, gate.key("acme"), 200)


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (new_key(), 1, "has this key"),
        ("nothing", 2, "begin with pgk_"),
        (new_key()[:-1], 2, "it was cut or mistyped"),
        (f"{new_key()} {new_key()}", 2, "more than one license key"),
    ],
    ids=["nobody's", "no key", "cut", "two"],
)
async def test_a_key_that_is_not_found_is_told_without_repeating_it(
    gate: Gate, given: str, code: int, words: str
) -> None:
    await create(gate)
    found = await pullgate("license", "find", "--folder", gate.directory, stdin=given)
    assert (found.code, words in found.output) == (code, True), found.output
    assert given.partition(" ")[0] not in found.output or given == "nothing"


async def test_a_key_that_a_license_does_not_have_is_not_revoked(gate: Gate) -> None:
    key = await create(gate)
    ran = await license_(gate, "revoke", "acme", "k00000")
    assert ran.code == 2
    assert f"it has {key_id(key_digest(key))} (current)" in ran.output
