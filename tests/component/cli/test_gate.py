"""A release gate in a shell: one broken image stops it, and says whose move it is."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import xmlschema
import yaml
from sarif_pydantic.sarif import Sarif

from tests.support.catalog import API, STABLE, WORKER
from tests.support.cli import Ran, pullgate
from tests.support.gate import APP, Gate, license_, registry, running, secret
from tests.support.ports import free_port
from tests.support.tools import tool
from tests.support.upstreams import DockerRegistry

JUNIT = xmlschema.XMLSchema(Path(__file__).parents[2] / "support" / "schemas" / "junit.xsd")
HOST = "upstream.test"
GOOD = f"{HOST}/{WORKER}:1.0.0"
GONE = f"{HOST}/{WORKER}:9.9.9"


@pytest.fixture
async def gate(docker_registry_basic: DockerRegistry, tmp_path: Path) -> AsyncIterator[Gate]:
    upstream, port = docker_registry_basic, free_port()
    documents = [
        secret("vendor", upstream.username, upstream.password),
        registry("upstream", upstream.host, secret="vendor", domains=[HOST]),
        license_("acme", {"repositories": ["my-org/*"]}),
        license_("basic", {"repositories": [API]}),
        license_("former", expiresAt="2026-01-01T00:00:00Z"),
    ]
    async with running(
        tmp_path / "resources", *documents, listen_port=port, external_url=f"http://127.0.0.1:{port}"
    ) as gate:
        yield gate


def manifests(folder: Path, *images: str) -> Path:
    """A folder of rendered manifests: a Deployment for each image."""
    folder.mkdir()
    for number, image in enumerate(images):
        spec = {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}
        document = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": f"d{number}"}, "spec": spec}
        (folder / f"{number}.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return folder


async def run(gate: Gate, *arguments: str | Path, **env: Any) -> Ran:
    return await pullgate("gate", *arguments, "--folder", gate.directory, "-n", APP, **env)


async def test_a_folder_of_manifests_passes_when_all_can_be_pulled(gate: Gate, tmp_path: Path) -> None:
    ran = await run(gate, "-f", manifests(tmp_path / "rendered", GOOD, f"{HOST}/{API}:{STABLE}"))
    assert ran.code == 0, ran.output
    assert "2/2 passed" in ran.output


async def test_one_broken_image_stops_the_release_and_says_whose_move_it_is(gate: Gate, tmp_path: Path) -> None:
    folder = manifests(tmp_path / "rendered", GOOD, GONE)
    ran = await run(gate, "-f", folder)
    assert ran.code == 1, ran.output
    assert f"✗ {GONE}" in ran.output
    assert "ManifestUnknown" in ran.output
    assert "the move is the vendor's: check the tag, or push it" in ran.output
    assert "1/2 passed" in ran.output


async def test_each_customer_is_asked_as_that_customer(gate: Gate, docker_registry_basic: DockerRegistry) -> None:
    worker, api = f"{docker_registry_basic.host}/{WORKER}:1.0.0", f"{docker_registry_basic.host}/{API}:{STABLE}"
    ran = await run(gate, worker, api, "--as", "all", "-o", "json")
    assert ran.code == 1, ran.output
    found = {(r["as"], i["image"]): i.get("reason", "Ok") for r in ran.data["runs"] for i in r["results"]}
    assert found == {
        ("acme", worker): "Ok",
        ("acme", api): "Ok",
        ("basic", worker): "NotEntitled",
        ("basic", api): "Ok",
    }, "a License that is over is not one of all"
    former = await run(gate, worker, "--as", "former", "-o", "json")
    assert (former.code, former.data["runs"][0]["results"][0]["reason"]) == (1, "LicenseExpired")
    assert former.data["runs"][0]["results"][0]["actors"] == ["customer", "vendor"]


async def test_reports_validate_against_their_schemas(gate: Gate, tmp_path: Path) -> None:
    folder = manifests(tmp_path / "rendered", GOOD, GONE, f"{HOST}/My-Org/x:1", "elsewhere.test/x:1")
    files = {form: tmp_path / f"report.{form}" for form in ("junit", "sarif", "json", "yaml", "markdown")}
    options = [word for form, file in files.items() for word in ("--report", f"{form}={file}")]
    broken = await run(gate, "-f", folder, *options)
    assert broken.code == 2, "what is no reference is a mistake in the input"
    assert f"{folder}/2.yaml:" in broken.output
    (folder / "2.yaml").unlink()
    ran = await run(gate, "-f", folder, *options)
    assert ran.code == 1, ran.output
    JUNIT.validate(str(files["junit"]))
    sarif = Sarif.model_validate_json(files["sarif"].read_text())
    assert [result.rule_id for result in sarif.runs[0].results or ()] == ["ManifestUnknown", "RegistryUnknown"]
    place = json.loads(files["sarif"].read_text())["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == f"{folder}/1.yaml"
    assert place["region"]["startLine"] > 1
    assert json.loads(files["json"].read_text()) == yaml.safe_load(files["yaml"].read_text())
    assert "❌" in files["markdown"].read_text()


async def test_in_github_actions_failures_are_annotations_at_their_line(gate: Gate, tmp_path: Path) -> None:
    folder, summary = manifests(tmp_path / "rendered", GONE), tmp_path / "summary.md"
    ran = await run(gate, "-f", folder, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    line = next(line for line in ran.output.splitlines() if line.startswith("::error "))
    assert line.startswith(f"::error file={folder}/0.yaml,line=")
    assert "ManifestUnknown" in line
    assert "0/1 passed" in summary.read_text()


async def test_a_chart_is_rendered_by_helm_and_its_images_are_tested(gate: Gate, tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: app\nversion: 0.1.0\n")
    (chart / "values.yaml").write_text("tag: 9.9.9\n")
    pod = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: x}}\nspec: {{containers: [{{image: '{HOST}/{WORKER}:"
    (chart / "templates" / "pod.yaml").write_text(pod + "{{ .Values.tag }}'}]}\n")
    values = tmp_path / "values.yaml"
    values.write_text("tag: 1.0.0\n")
    path = {"PATH": f"{tool('helm').parent}:/usr/bin:/bin"}
    assert (await run(gate, "--chart", str(chart), **path)).code == 1
    ran = await run(gate, "--chart", str(chart), "--values", str(values), **path)
    assert ran.code == 0, ran.output


async def test_the_operator_can_run_the_gate_as_an_image_test(gate: Gate) -> None:
    ran = await run(gate, GOOD, GONE, "--in-cluster", "-o", "json")
    assert ran.code == 1, ran.output
    assert [r.get("reason", "Ok") for r in ran.data["runs"][0]["results"]] == ["Ok", "ManifestUnknown"]


async def test_a_gate_of_the_operator_does_not_wait_for_a_license_that_is_not_there(gate: Gate) -> None:
    ran = await run(gate, GOOD, "--in-cluster", "--as", "nobody")
    assert ran.code == 2
    assert "there is no License nobody" in ran.output
    assert not await gate.store.list("ImageTest")


def docker_config(folder: Path, **config: Any) -> str:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


async def test_without_a_place_dockers_own_logins_are_used(
    docker_registry_basic: DockerRegistry, tmp_path: Path
) -> None:
    upstream = docker_registry_basic
    image = f"{upstream.host}/{WORKER}:1.0.0"
    options = ("gate", image, "--local", "--plain-http", upstream.host, "-o", "json")
    auth = base64.b64encode(f"{upstream.username}:{upstream.password}".encode()).decode()
    right = docker_config(tmp_path / "right", auths={upstream.host: {"auth": auth}})
    ran = await pullgate(*options, DOCKER_CONFIG=right)
    assert ran.code == 0, ran.output
    empty = docker_config(tmp_path / "empty")
    assert (await pullgate(*options, DOCKER_CONFIG=empty)).data["runs"][0]["results"][0][
        "reason"
    ] == "UpstreamForbidden"
    helper = tmp_path / "bin" / "docker-credential-vault"
    helper.parent.mkdir()
    answer = json.dumps({"ServerURL": upstream.host, "Username": upstream.username, "Secret": upstream.password})
    helper.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{answer}'\n")
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    stored = docker_config(tmp_path / "stored", credHelpers={upstream.host: "vault"})
    ran = await pullgate(*options, DOCKER_CONFIG=stored, PATH=f"{helper.parent}:/usr/bin:/bin")
    assert ran.code == 0, ran.output
    missing = docker_config(tmp_path / "missing", credsStore="nowhere")
    ran = await pullgate(*options, DOCKER_CONFIG=missing)
    assert (ran.code, "docker-credential-nowhere" in ran.output) == (2, True)
    assert upstream.password not in ran.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "there is no image to be tested"),
        (["-f", "nowhere.yaml"], "nowhere.yaml cannot be read"),
        ([GOOD, "--as", "nobody"], "there is no License nobody in my-app; there are acme, basic, former"),
        ([GOOD, "--platform", "linux"], "write it like linux/amd64"),
        ([GOOD, "--timeout", "soon"], "write it like 2m"),
        ([GOOD, "--report", "pdf=x"], "write it like junit=report.xml"),
        ([GOOD, "--local", "--as", "acme"], "leave out --as"),
        ([GOOD, "--image-path", "a b"], "--image-path"),
    ],
)
async def test_what_cannot_be_tried_ends_with_2(gate: Gate, arguments: list[str], words: str) -> None:
    ran = await run(gate, *arguments)
    assert ran.code == 2, ran.output
    assert words in " ".join(ran.output.split())
    assert "Traceback" not in ran.output


async def test_the_images_of_manifests_are_listed_with_their_places(tmp_path: Path) -> None:
    folder = manifests(tmp_path / "rendered", GOOD, GONE)
    ran = await pullgate("image", "list", folder)
    assert ran.output.splitlines() == [GOOD, GONE]
    rows = (await pullgate("image", "list", folder, "-o", "json")).data
    assert rows[0]["sources"][0].startswith(f"{folder}/0.yaml:")


async def test_one_image_is_tested_by_depth_and_platform(gate: Gate) -> None:
    place = ("--folder", gate.directory, "-n", APP)
    index = f"{HOST}/{API}:{STABLE}"
    good = await pullgate("image", "test", index, "--platform", "linux/arm64", "--depth", "download", *place)
    assert good.code == 0, good.output
    bad = await pullgate("image", "test", index, "--platform", "linux/s390x", *place)
    assert bad.code == 1
    assert "is not for linux/s390x" in bad.output


@pytest.mark.parametrize("more", [(), ("--local",), ("--in-cluster", "--as", "acme")])
async def test_a_proxy_that_would_not_be_asked_is_no_pass(tmp_path: Path, more: tuple[str, ...]) -> None:
    (tmp_path / "a.yaml").write_text("kind: Pod\nspec: {containers: [{image: quay.io/my-org/api:1}]}\n")
    ran = await pullgate("gate", tmp_path / "a.yaml", "--proxy", "https://images.test", *more)
    assert ran.code == 2, ran.output
    assert "--proxy would never be asked" in ran.output
