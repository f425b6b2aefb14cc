"""A folder of resources, a store on it, and waiting for what shall come true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from pullgate.store.folder import FolderStore
from pullgate.store.port import Key
from tests.support.canaries import canary

PATIENCE = 20.0
"""Seconds; far more than anything needs, so that a loaded machine fails no test."""

T = TypeVar("T")


class Folder:
    """Files by name, and what a store on them says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        self.mended: list[str] = []
        self.events: list[tuple[Key, str, str]] = []
        """Key, reason and message."""

    def write(self, file: str, *documents: str) -> None:
        """Put documents in a file as editors do: truncate it, then write."""
        path = self.path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("---\n".join(documents))

    def open(self) -> FolderStore:
        """A store that is not started."""
        return FolderStore(
            self.path,
            on_problem=lambda problem: self.problems.append(str(problem)),
            on_mended=self.mended.append,
            on_event=lambda key, type_, reason, message: self.events.append((key, reason, message)),
        )

    def private(self, path: str) -> Path:
        """A path below .pullgate."""
        return self.path / ".pullgate" / path

    def reasons(self, name: str) -> list[str]:
        """The reasons of the events of the resources with this name."""
        return [reason for key, reason, _ in self.events if key.name == name]


async def eventually(ask: Callable[[], Awaitable[T]]) -> T:
    """The first true answer."""
    end = time.monotonic() + PATIENCE
    while True:
        answer = await ask()
        if answer or time.monotonic() > end:
            assert answer, "it did not come true"
            return answer
        await asyncio.sleep(0.01)


def condition(document: dict[str, Any] | None, type_: str) -> dict[str, Any]:
    """A condition of a document's status, or an empty one."""
    rows: list[dict[str, Any]] = (document or {}).get("status", {}).get("conditions", [])
    return next((row for row in rows if row["type"] == type_), {})


def license_text(name: str = "acme", *, annotation: str = "", **spec: str) -> str:
    """A License of app my-app."""
    lines = "".join(f"  {field}: {value}\n" for field, value in spec.items())
    note = f", annotations: {{pullgate.dev/rotate-key: '{annotation}'}}" if annotation else ""
    return (
        "apiVersion: pullgate.dev/v1alpha1\nkind: License\n"
        f"metadata: {{name: {name}, namespace: my-app{note}}}\n"
        f"spec:\n{lines}  entitlements: [{{registry: up, repositories: ['**']}}]\n"
    )


def registry_text(host: str, name: str = "up", **spec: str) -> str:
    """A Registry of app my-app with the Secret robot."""
    fields = {"type": "Generic", "host": f"'{host}'", "tls": "{plainHTTP: true}"}
    fields |= {"credentials": "{secretRef: {name: robot}}", **spec}
    lines = "".join(f"  {field}: {value}\n" for field, value in fields.items())
    return (
        "apiVersion: pullgate.dev/v1alpha1\nkind: Registry\n"
        f"metadata: {{name: {name}, namespace: my-app}}\nspec:\n{lines}"
    )


def secret_text(username: str, password: str, name: str = "robot") -> str:
    """A basic-auth Secret of app my-app."""
    return (
        f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: my-app}}\n"
        f"type: kubernetes.io/basic-auth\nstringData: {{username: '{username}', password: '{canary(password)}'}}\n"
    )
