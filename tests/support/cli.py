"""`pullgate …` as a process."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.clients.command import run

NO_CLUSTER = {"KUBECONFIG": "/nonexistent", "KUBERNETES_SERVICE_HOST": ""}


@dataclass(frozen=True, slots=True)
class Ran:
    """The outcome."""

    code: int
    output: str
    """Standard output and error."""

    @property
    def data(self) -> Any:
        """The output as JSON."""
        return json.loads(self.output)


async def pullgate(
    *arguments: str | Path, stdin: str = "", columns: int = 0, shows_secrets: bool = False, **env: str
) -> Ran:
    """Run it in a pipe, or, with `columns`, as on a terminal so wide."""
    extra = {**NO_CLUSTER, **env}
    if columns:
        extra |= {"FORCE_COLOR": "1", "COLUMNS": str(columns), "TERM": "xterm-256color"}
    if os.environ.get("KUBERNETES_SERVICE_HOST") is None:
        extra.pop("KUBERNETES_SERVICE_HOST")
    command = [sys.executable, "-m", "pullgate_cli", *arguments]
    done = await run(command, env=extra, stdin=stdin, shows_secrets=shows_secrets)
    return Ran(done.exit_code, done.output)
