"""The image of this checkout, built once for its content."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.tools import tool

ROOT = Path(__file__).parents[2]
BUILD_SECONDS = 1200
RANDOM_USER = "1000680000:0"
"""OpenShift runs a pod as a user of the namespace's range, which no /etc/passwd knows, in group 0."""


@dataclass(frozen=True, slots=True)
class Image:
    """`archive` is an OCI archive; its files are mounted, read-only, at `root`."""

    archive: Path
    name: str
    root: Path
    environment: tuple[str, ...]
    """As the image sets it."""

    def command(self, *words: str) -> list[str]:
        """The command that runs `words` in the image, as a random user, with nothing to write to but /data.

        It is a chroot, not a container: a container's limits cannot be set in every place where the tests run.
        tests/image/test_cluster.py runs containers.
        """
        data = self.root / "data"
        mount = f'mount -t tmpfs -o uid=65532,gid=0,mode=0775 tmpfs {data} && exec chroot --userspec={RANDOM_USER} "$@"'
        return ["unshare", "--mount", "env", "-i", *self.environment, "sh", "-c", mount, "sh", str(self.root), *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `words` in the image; return the output and the exit code."""
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    """The built image, with its files mounted."""
    print("Building the image of this checkout, unless it is built …", file=sys.stderr)
    built = subprocess.run(
        [ROOT / "scripts" / "image", "--archive"], stdout=subprocess.PIPE, text=True, timeout=BUILD_SECONDS, check=True
    )
    archive = Path(built.stdout.strip())
    loaded = podman("load", "--quiet", "--input", str(archive))
    name = loaded.rpartition("Loaded image: ")[2].strip()
    try:
        environment = json.loads(podman("image", "inspect", name))[0]["Config"]["Env"]
        yield Image(archive, name, Path(podman("image", "mount", name).strip()), tuple(environment))
    finally:
        podman("image", "unmount", name)


def podman(*words: str) -> str:
    """Run podman; return its standard output."""
    done = subprocess.run([tool("podman"), *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
