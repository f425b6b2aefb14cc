"""`--ca FILE` is the same in every command that accepts it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.component.test_standalone import standalone
from tests.support.catalog import WORKER, seed
from tests.support.cli import pullgate
from tests.support.folder import Folder
from tests.support.gate import API_VERSION, APP, license_, registry
from tests.support.ports import free_port
from tests.support.tls import Authority
from tests.support.upstreams import ScriptedRegistry

IMAGE = "quay.io/my-org/api:1"
COMMANDS: dict[str, tuple[str, ...]] = {
    "operator": ("operator", "--external-url", "https://images.test"),
    "standalone": ("standalone", "FOLDER"),
    "gate": ("gate", IMAGE, "--folder", "FOLDER"),
    "image test": ("image", "test", IMAGE, "--folder", "FOLDER"),
    "registry test": ("registry", "test", "--type", "Quay"),
    "registry add": ("registry", "add", "quay", "--type", "Quay", "--folder", "FOLDER"),
    "doctor": ("doctor", "--folder", "FOLDER"),
}
BROKEN = {
    "that is missing": (None, "cannot be read: No such file or directory"),
    "of a key": ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds no certificate in PEM"),
    "that was cut": (Authority().pem[:300], "holds a certificate that cannot be read"),
    "that is empty": ("", "holds no certificate in PEM"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("file", BROKEN)
async def test_a_ca_that_cannot_be_used_ends_with_2_and_a_sentence_that_names_the_file(
    command: str, file: str, tmp_path: Path
) -> None:
    content, words = BROKEN[file]
    ca, folder = tmp_path / "ca.crt", tmp_path / "resources"
    folder.mkdir()
    if content is not None:
        ca.write_text(content)
    arguments = [str(folder) if word == "FOLDER" else word for word in COMMANDS[command]]
    ran = await pullgate(*arguments, "--ca", ca, COLUMNS="200")
    assert ran.code == 2, ran.output
    assert f"CA file {ca} {words}" in " ".join(ran.output.split())
    assert "Traceback" not in ran.output


async def test_the_operator_takes_it_from_its_environment(tmp_path: Path) -> None:
    ran = await pullgate("operator", "--external-url", "https://images.test", PULLGATE_CA=str(tmp_path / "ca.crt"))
    assert (ran.code, f"CA file {tmp_path}/ca.crt cannot be read" in ran.output) == (2, True), ran.output


async def test_a_registry_with_a_private_ca_is_tested_added_and_gated(tmp_path: Path, authority: Authority) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_text(authority.pem)
    async with ScriptedRegistry(name="localhost", tls=authority.server(("localhost",))) as upstream:
        await seed(upstream)
        about = ("--type", "Generic", "--host", upstream.host)
        assert (await pullgate("registry", "test", *about)).code == 1
        tested = await pullgate("registry", "test", *about, "--ca", ca)
        assert tested.code == 0, tested.output
        local = ("gate", f"{upstream.host}/{WORKER}:1.0.0", "--local", "--retries", "0")
        assert (await pullgate(*local, DOCKER_CONFIG=str(tmp_path))).code == 1
        gated = await pullgate(*local, "--ca", ca, DOCKER_CONFIG=str(tmp_path))
        assert gated.code == 0, gated.output
        folder = tmp_path / "resources"
        folder.mkdir()
        added = await pullgate("registry", "add", "up", *about, "--ca", ca, "--folder", folder, "-n", APP)
        assert added.code == 0, added.output
        again = await pullgate("registry", "test", "up", "--folder", folder, "-n", APP)
        assert again.code == 0, again.output


async def test_standalone_tests_as_a_customer_through_its_own_private_certificate(
    tmp_path: Path, authority: Authority
) -> None:
    ca, port = tmp_path / "ca.crt", free_port()
    ca.write_text(authority.pem)
    cert, key = authority.write_pair(tmp_path)
    async with ScriptedRegistry() as upstream:
        await seed(upstream)
        spec = {"images": [f"{upstream.host}/{WORKER}:1.0.0"], "as": {"licenseRef": {"name": "acme"}}}
        metadata = {"name": "release", "namespace": APP}
        test = {"apiVersion": API_VERSION, "kind": "ImageTest", "metadata": metadata, "spec": spec}
        folder = Folder(tmp_path / "folder")
        folder.write("all.yaml", *(yaml.safe_dump(d) for d in (registry("up", upstream.host), license_("acme"), test)))
        serving = ("--tls-cert", str(cert), "--tls-key", str(key), "--ca", str(ca), "--listen", f"127.0.0.1:{port}")
        async with standalone(folder, *serving, "--external-url", f"https://localhost:{port}") as running:
            await running.until_said(f"ImageTest {APP}/release: Passed: 1/1 passed")


async def test_doctor_trusts_the_ca_beside_the_systems(tmp_path: Path, authority: Authority) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_text(authority.pem)
    async with ScriptedRegistry("basic", name="localhost", tls=authority.server(("localhost",))) as upstream:
        options = ("doctor", "--folder", tmp_path, "--proxy", f"https://{upstream.host}")
        assert "CERTIFICATE_VERIFY_FAILED" in (await pullgate(*options)).output
        assert "CERTIFICATE_VERIFY_FAILED" not in (await pullgate(*options, "--ca", ca)).output
