"""docs/install.md as a reader follows it: its overlay and its commands, word by word."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.support.cluster.kubectl import Kubectl
from tests.support.kustomize import DEPLOY
from tests.support.tools import tool

SECONDS = 300
"""For a command that waits until pods are ready."""
PAGE = (DEPLOY.parent / "docs" / "install.md").read_text()


def reader_folder(folder: Path) -> Path:
    """`folder` as it is where the reader stands: deploy/, and the page's overlay beside it."""
    (folder / "overlay").mkdir()
    (folder / "overlay" / "kustomization.yaml").write_text(yaml_block("# overlay/kustomization.yaml"))
    (folder / "deploy").symlink_to(DEPLOY)
    return folder


def yaml_block(first_line: str) -> str:
    """The page's YAML that begins with that line."""
    found = re.search(rf"^```yaml\n({re.escape(first_line)}\n.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None, first_line
    return found[1]


def commands(heading: str, block: int = -1) -> list[str]:
    """The lines of the last block of commands of a part of the page, or of another one."""
    part = PAGE.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    blocks: list[tuple[str, str]] = re.findall(r"^```(\w*)\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)
    return [text for language, text in blocks if not language][block].splitlines()


def run(cluster: Kubectl, folder: Path, command: str) -> None:
    """A command of the page, in `folder`."""
    path = f"{tool('kubectl').parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "KUBECONFIG": str(cluster.kubeconfig)}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
