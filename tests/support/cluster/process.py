"""A program beside the tests, its output in a file, and its end."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support import tracebacks
from tests.support.canaries import look

STOP_SECONDS = 20.0
TAIL = 3000
"""Bytes of a program's output that an error shows."""


class ProgramFailed(Exception):
    """A program ended or did not become ready; the message holds the end of its output."""


class Program:
    """A running program; it can be stopped and started again."""

    def __init__(self, command: Sequence[str | Path], log: Path) -> None:
        self._command, self._log = [str(word) for word in command], log
        self._process: subprocess.Popen[bytes] | None = None
        self.is_product = "pullgate_cli" in self._command
        """True if no secret may be in its output."""

    @property
    def running(self) -> bool:
        """True while the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process's pid; 0 before `start` and after `stop`."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        """Start it."""
        if self.is_product:
            tracebacks.watch(self._log)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)

    def wait(self) -> int:
        """Wait until it ends by itself; returns its exit code."""
        return self._process.wait(STOP_SECONDS) if self._process is not None else 0

    def stop(self) -> None:
        """End it, by force if it does not."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        if self.is_product:
            look(f"output of {' '.join(self._command[2:4])}", self._log.read_bytes())

    def failed(self, why: str) -> ProgramFailed:
        """The exception to raise when it fails."""
        return ProgramFailed(f"{Path(self._command[0]).name} {why}:\n{self._log.read_text(errors='replace')[-TAIL:]}")
