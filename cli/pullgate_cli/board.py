"""The terminal output for a served folder: tables at the start, then a line for each event."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pullgate.resources.conditions import read_condition
from pullgate.resources.registry_type import REGISTRY_TYPES
from pullgate.store.documents import FileProblem
from pullgate.store.port import Key

WIDE = 200
"""Columns where the output is no terminal."""

_COLOURS = {"True": "green", "False": "red", "Unknown": "yellow"}


class Board:
    """Writes to standard error: standard output is the access log's."""

    def __init__(self, directory: Path) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=False)
        if not self.console.is_terminal:
            self.console.width = WIDE
        self._directory = directory
        self._quiet = True

    def show_tables(self, registries: Iterable[Mapping[str, Any]], licenses: Iterable[Mapping[str, Any]]) -> None:
        """Print the Registries and Licenses. From then on all events are printed, too."""
        self._quiet = False
        table = _table("Registry", "Host", "Ready", "")
        for document in sorted(registries, key=_name):
            ready = read_condition(document, "Ready")
            table.add_row(_name(document), _host(document), *_verdict(ready))
        self._print(table)
        table = _table("License", "Valid", "", "Expires", "Key")
        for document in sorted(licenses, key=_name):
            expires = escape(str(document["spec"].get("expiresAt", "never")))
            valid = read_condition(document, "Valid")
            table.add_row(_name(document), *_verdict(valid), expires, self._secret_file(document))
        self._print(table)

    def line(self, text: str) -> None:
        """One line for people."""
        self.console.print(escape(text), soft_wrap=True)

    def problem(self, problem: FileProblem) -> None:
        """A mistake in a file; the last good state goes on."""
        words = f"[bold]{escape(problem.file)}:{problem.line}:[/] [red]{escape(problem.message)}[/]"
        self.console.print(words, soft_wrap=True)

    def mended(self, file: str) -> None:
        """A file is right again."""
        self.console.print(f"[bold]{escape(file)}:[/] [green]mended[/]", soft_wrap=True)

    def event(self, key: Key, type_: str, reason: str, message: str) -> None:
        """Print an event of a resource; before the tables, only warnings about keys."""
        if self._quiet and not (type_ == "Warning" and reason.startswith("Key")):
            return
        colour = "green" if type_ == "Normal" else "yellow"
        words = f"{_clock()} {key.kind} {key.namespace}/{key.name}: [{colour}]{escape(reason)}[/]: {escape(message)}"
        self.console.print(words, soft_wrap=True)

    def gone(self, key: Key) -> None:
        """A resource that was removed."""
        if not self._quiet:
            self.line(f"{_clock()} {key.kind} {key.namespace}/{key.name}: removed")

    def _print(self, table: Table) -> None:
        if table.row_count:
            self.console.print(table)

    def _secret_file(self, document: Mapping[str, Any]) -> str:
        name = document.get("status", {}).get("secrets", {}).get("license")
        if not name:
            return escape(read_condition(document, "Ready").get("message", "not issued yet"))
        folder = self._directory / ".pullgate" / "secrets" / document["metadata"]["namespace"]
        return escape(str(folder / f"{name}.yaml"))


def _verdict(condition: Mapping[str, Any]) -> tuple[str, str]:
    status = condition.get("status", "Unknown")
    word = {"True": "yes", "False": "no", "Unknown": "?"}[status]
    message = condition.get("message", "")
    reason = "" if status == "True" else f"{condition.get('reason', 'not looked at yet')}: {message}"
    return f"[{_COLOURS[status]}]{word}[/]", escape(reason.removesuffix(": "))


def _host(document: Mapping[str, Any]) -> str:
    spec = document["spec"]
    row = REGISTRY_TYPES.get(spec.get("type", ""))
    return escape(str(spec.get("host") or (row.host if row is not None else "") or ""))


def _name(document: Mapping[str, Any]) -> str:
    return f"{document['metadata']['namespace']}/{document['metadata']['name']}"


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _clock() -> str:
    return time.strftime("%H:%M:%S")
