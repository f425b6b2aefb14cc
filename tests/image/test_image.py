"""The image holds what its commands need and no more, and runs as any user."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.image.conftest import ROOT, Image, podman
from tests.support.ports import free_port

pytestmark = [pytest.mark.timeout(1500), pytest.mark.xdist_group("cluster")]

MEBIBYTE = 1024 * 1024
MOST_BYTES = 140 * MEBIBYTE
"""The size limit of /opt/pullgate; docs/image.md lists its content."""
CLIENTS = """
import botocore.session, azure.identity, google.auth, kopf, kubernetes.aio.client, kubernetes.aio.config
import pullgate_cli.__main__, pullgate_operator, pullgate_proxy
session = botocore.session.Session()
session.set_credentials("id", "key")
for service in ("ecr", "ecr-public", "s3", "sts"):
    session.create_client(service, region_name="us-east-1")
"""


@pytest.mark.parametrize("command", ["", "operator", "proxy", "standalone", "license", "registry", "gate", "doctor"])
def test_every_command_starts_as_a_user_without_a_name(image: Image, command: str) -> None:
    done = image.run("pullgate", *command.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: pullgate {command}".strip())


def test_every_client_library_that_commands_load_later_is_whole(image: Image) -> None:
    done = image.run("python", "-c", CLIENTS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module", ["pip", "ensurepip", "hatchling", "setuptools", "pytest", "kubernetes.client.models.v1_pod"]
)
def test_what_no_command_uses_is_not_there(image: Image, module: str) -> None:
    done = image.run("python", "-c", f"import {module}")
    assert "ModuleNotFoundError" in done.stderr


def test_it_has_the_python_that_the_tests_run_on(image: Image) -> None:
    done = image.run("python", "-c", "import sys; print(*sys.version_info[:2])")
    assert done.stdout == "3 13\n"


def test_it_has_only_the_aws_services_that_are_called(image: Image) -> None:
    data = next((image.root / "opt/pullgate/lib").glob("python3*/site-packages/botocore/data"))
    found = {path.name for path in data.iterdir() if path.is_dir()}
    assert {"ecr", "ecr-public", "s3", "sts"} <= found
    assert len(found) < 10


def test_it_is_as_small_as_its_page_says(image: Image) -> None:
    files = (path for path in (image.root / "opt/pullgate").rglob("*") if path.is_file() and not path.is_symlink())
    assert sum(path.stat().st_size for path in files) < MOST_BYTES


def test_its_labels_say_what_it_is_and_of_which_source(image: Image) -> None:
    (found,) = json.loads(podman("image", "inspect", image.name))
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in found["Labels"].items()}
    assert labels["title"] == "Pullgate"
    assert labels["licenses"] == "Apache-2.0"
    assert f'version = "{labels["version"]}"' in (ROOT / "pyproject.toml").read_text()
    assert labels["source"].startswith("https://")
    assert len(labels["revision"]) == 40 or labels["revision"] == "unknown"
    assert found["User"] == "65532:65532"


def test_data_belongs_to_its_user_and_group_0_may_write_it(image: Image) -> None:
    found = (image.root / "data").stat()
    assert (found.st_uid, found.st_gid, oct(found.st_mode & 0o777)) == (65532, 0, "0o775")


def test_standalone_serves_an_empty_folder_as_a_user_without_a_name(image: Image) -> None:
    port, admin = free_port(), free_port()
    listen = ("--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}")
    with started(image.command("pullgate", "standalone", "/data", *listen)):
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{admin}/healthz") as answer:
                assert answer.status == 200
                return
            assert time.monotonic() < end
            time.sleep(0.2)


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[None]:
    """Runs while the context is open."""
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.terminate()
